"""Who is whose parent: other instrumentations' spans, calls within calls, adapters by themselves."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from instructor.cache import AutoCache, BaseCache, DiskCache
from opentelemetry import context as context_api
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult
from pydantic import BaseModel, field_validator
from support.models import MESSAGES, DictCache, FailingCache, User
from support.recording import Recording
from support.redis_server import redis_server
from support.ways import MODEL, make_client

from llm_cache_otel import instrument, uninstrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.later import later

REQUEST: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "response_model": User}
ATTEMPT = f"chat {MODEL}"


def shape(recording: Recording) -> list[str]:
    """The tree without attributes."""
    return [line.split(" [")[0] for line in recording.tree() if not line.lstrip().startswith(".")]


def test_http_client_spans_fall_inside_their_attempt(
    provider: SimulatedProvider, recording: Recording
) -> None:
    HTTPXClientInstrumentor().instrument(tracer_provider=recording.tracer_provider)
    try:
        client = make_client(provider, cache=AutoCache())
        instrument(client, **recording.providers)
        provider.cues.add(Cue(answer={}))
        client.create(**REQUEST)
        client.client.close()
    finally:
        HTTPXClientInstrumentor().uninstrument()
    assert shape(recording) == [
        "create User",
        "  cache lookup",
        f"  {ATTEMPT}",
        "    POST",
        f"  {ATTEMPT}",
        "    POST",
        "  cache store",
    ]


@pytest.fixture
def redis_client(tmp_path: Path) -> Iterator[Any]:
    with redis_server(tmp_path) as url, redis.Redis.from_url(url) as client:
        yield client


class RedisCache(BaseCache):
    def __init__(self, client: Any) -> None:
        self._client = client

    def get(self, key: str) -> Any:
        return self._client.get(key)

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        self._client.set(key, value, ex=ttl)


def test_redis_client_spans_fall_inside_lookup_and_store(
    provider: SimulatedProvider, recording: Recording, redis_client: Any
) -> None:
    RedisInstrumentor().instrument(tracer_provider=recording.tracer_provider)
    try:
        client = make_client(provider, cache=RedisCache(redis_client))
        instrument(client, **recording.providers)
        for _ in range(2):
            client.create(**REQUEST, cache_ttl=60)
        client.client.close()
    finally:
        RedisInstrumentor().uninstrument()
    miss = ["create User", "  cache lookup", "    GET", f"  {ATTEMPT}", "  cache store", "    SET"]
    assert shape(recording) == [*miss, "create User", "  cache lookup", "    GET"]
    hit = recording.spans("create User")[1]
    assert hit.attributes["llm_cache.backend"] == "redis"
    assert hit.attributes["llm_cache.ttl"] == 60


def test_spans_of_a_memory_caches_own_get_fall_inside_lookup_and_store(
    provider: SimulatedProvider, recording: Recording
) -> None:
    """A class made of `AutoCache` may ask anybody, such as a second level."""
    tracer = recording.providers["tracer_provider"].get_tracer("host")

    class TwoLevels(AutoCache):
        def get(self, key: str) -> Any:
            with tracer.start_as_current_span("GET"):
                return super().get(key)

        def set(self, key: str, value: Any, ttl: int | None = None) -> None:
            with tracer.start_as_current_span("SET"):
                super().set(key, value, ttl)

    client = instrument(make_client(provider, cache=TwoLevels()), **recording.providers)
    for _ in range(2):
        client.create(**REQUEST)
    client.client.close()
    miss = ["create User", "  cache lookup", "    GET", f"  {ATTEMPT}", "  cache store", "    SET"]
    assert shape(recording) == [*miss, "create User", "  cache lookup", "    GET"]


class FailsAtCaches(Sampler):
    def should_sample(  # noqa: PLR0913  as the SDK has it
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Any = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        if name.startswith("cache "):
            raise RuntimeError("a sampler that fails")
        return ALWAYS_ON.should_sample(parent_context, trace_id, name)

    def get_description(self) -> str:
        return "fails at caches"


def test_a_sampler_that_fails_at_a_memory_cache_costs_the_call_no_other_span(
    provider: SimulatedProvider,
) -> None:
    exporter = InMemorySpanExporter()
    tracers = TracerProvider(sampler=FailsAtCaches(), shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    client = instrument(
        make_client(provider, cache=AutoCache()),
        tracer_provider=tracers,
        meter_provider=NoOpMeterProvider(),
    )
    client.create(**REQUEST)
    client.client.close()
    assert later.wait(10)
    assert [span.name for span in exporter.get_finished_spans()] == [ATTEMPT, "create User"]


def test_a_hit_tells_the_model_that_was_asked_as_its_miss_does(
    provider: SimulatedProvider, recording: Recording
) -> None:
    """Where a user's own function around Instructor's knows models by other names."""
    client = make_client(provider, cache=AutoCache())
    create = client.create_fn

    def by_alias(*args: Any, **kwargs: Any) -> Any:
        return create(*args, **{**kwargs, "model": MODEL})

    client.create_fn = by_alias
    instrument(client, **recording.providers)
    for _ in range(2):
        client.create(**{**REQUEST, "model": "fast"})
    client.client.close()
    miss, hit = recording.spans("create User")
    assert hit.attributes["llm_cache.outcome"] == "hit"
    assert [span.attributes["gen_ai.request.model"] for span in (miss, hit)] == [MODEL, MODEL]


def test_the_callers_span_is_the_parent(provider: SimulatedProvider, recording: Recording) -> None:
    client = instrument(make_client(provider), **recording.providers)
    with recording.tracer_provider.get_tracer("host").start_as_current_span("host") as host:
        client.create(**REQUEST)
    client.client.close()
    assert recording.span("create User").parent.span_id == host.get_span_context().span_id


@pytest.mark.parametrize("inner_is_observed", [False, True])
@pytest.mark.parametrize("warm", [False, True], ids=["on a miss", "on a hit"])
def test_a_call_inside_a_validator_is_not_taken_for_part_of_the_outer_one(
    inner_is_observed: bool, warm: bool, provider: SimulatedProvider, recording: Recording
) -> None:
    inner = make_client(provider, cache=AutoCache())
    outer = instrument(
        make_client(provider, cache=AutoCache()), name="outer", **recording.providers
    )
    if inner_is_observed:
        instrument(inner, name="inner", **recording.providers)

    class Checked(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def check(cls, name: str) -> str:
            inner.create(**REQUEST)
            return name

    request = {**REQUEST, "response_model": Checked}
    if warm:
        outer.create(**request)
        recording.clear()
    outer.create(**request)
    for client in (inner, outer):
        client.client.close()
    (create,) = recording.spans("create Checked")
    assert create.attributes["llm_cache.attempts"] == (0 if warm else 1)
    inside = ["create User"]
    if not warm:
        inside += ["  cache lookup", f"  {ATTEMPT}", "  cache store"]
    nested = ["  " + line for line in inside] if inner_is_observed else []
    if warm:
        assert shape(recording) == ["create Checked", *nested]
    else:
        parts = ["  cache lookup", f"  {ATTEMPT}", *nested, "  cache store"]
        assert shape(recording) == ["create Checked", *parts]


def test_what_begins_while_an_entry_is_read_back(
    provider: SimulatedProvider, recording: Recording, tmp_path: Path
) -> None:
    """Is a part of the lookup, which has a span of its own where the cache is not in memory."""
    tracer = recording.providers["tracer_provider"].get_tracer("host")

    class Checked(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def check(cls, name: str) -> str:
            tracer.start_span("validator").end()
            return name

    cache = DiskCache(directory=str(tmp_path))
    client = instrument(make_client(provider, cache=cache), **recording.providers)
    for _ in range(2):
        recording.clear()
        client.create(**{**REQUEST, "response_model": Checked})
    client.client.close()
    cache._cache.close()
    assert shape(recording) == ["create Checked", "  cache lookup", "    validator"]
    (lookup,) = recording.spans("cache lookup")
    assert lookup.attributes["llm_cache.hit"] is True
    (create,) = recording.spans("create Checked")
    assert "llm_cache.entry.size" not in create.attributes, "which stands there"


def test_another_open_inference_span_makes_ours_step_back(
    provider: SimulatedProvider, recording: Recording
) -> None:
    """The mark that opentelemetry-util-genai leaves in the context while its span is open."""
    client = instrument(make_client(provider, cache=AutoCache()), **recording.providers)
    marked = context_api.set_value("opentelemetry.genai.client.inference.context", object())
    token = context_api.attach(marked)
    client.create(**REQUEST)
    context_api.detach(token)
    client.client.close()
    assert shape(recording) == ["create User", "  cache lookup", "  cache store"]
    assert recording.span("create User").attributes["llm_cache.attempts"] == 1
    assert not [line for line in recording.points() if line.startswith("gen_ai")]


def test_an_adapter_by_itself_is_seen_whoever_uses_it(
    provider: SimulatedProvider, recording: Recording
) -> None:
    cache = instrument(AutoCache(), name="shared", **recording.providers)
    bare = make_client(provider, cache=cache)
    bare.create(**REQUEST)
    bare.create(**REQUEST)
    bare.client.close()
    cache.get("by hand")
    assert shape(recording) == ["cache lookup", "cache store", "cache lookup", "cache lookup"]
    lookups = recording.spans("cache lookup")
    assert [span.attributes["llm_cache.hit"] for span in lookups] == [False, True, False]
    assert {span.attributes["llm_cache.name"] for span in recording.spans()} == {"shared"}
    whose = "llm_cache.backend=memory, llm_cache.name=shared"
    duration = "llm_cache.backend.duration (s, Histogram)"
    assert recording.points() == [
        f"{duration} {{{whose}, llm_cache.operation=get}} count 3",
        f"{duration} {{{whose}, llm_cache.operation=set}} count 1",
        f"llm_cache.capacity ({{entry}}, Gauge) {{{whose}}} 128",
        f"llm_cache.entries ({{entry}}, Gauge) {{{whose}}} 1",
    ]


def test_client_and_adapter_together_count_once(
    provider: SimulatedProvider, recording: Recording
) -> None:
    cache = instrument(DictCache(), name="the cache", **recording.providers)
    client = instrument(make_client(provider, cache=cache), **recording.providers)
    client.create(**REQUEST)
    client.create(**REQUEST)
    client.client.close()
    assert len(recording.spans("cache lookup")) == 2
    assert len(recording.spans("cache store")) == 1
    assert recording.spans("create User")[0].attributes["llm_cache.name"] == "the cache"
    assert recording.sums("llm_cache.backend.duration", "llm_cache.operation") == {
        "get": 2,
        "set": 1,
    }


def test_an_adapter_that_calls_its_parents_method_or_another_adapter(recording: Recording) -> None:
    class Loud(DictCache):
        def get(self, key: str) -> Any:
            return super().get(key)

    class Tiered(DictCache):
        def __init__(self, inner: BaseCache) -> None:
            super().__init__()
            self.inner = inner

        def get(self, key: str) -> Any:
            return super().get(key) or self.inner.get(key)

    plain, loud = DictCache(), Loud()
    tiered = Tiered(loud)
    for cache, name in ((plain, "plain"), (loud, "loud"), (tiered, "tiered")):
        instrument(cache, name=name, **recording.providers)
    tiered.get("key")
    assert shape(recording) == ["cache lookup", "  cache lookup"]
    assert recording.sums("llm_cache.backend.duration", "llm_cache.name") == {
        "tiered": 1,
        "loud": 1,
    }


def test_the_adapter_itself_is_never_changed_and_its_class_is_put_back(
    recording: Recording,
) -> None:
    class Base(BaseCache):
        def get(self, key: str) -> Any:
            return None

        def set(self, key: str, value: Any, ttl: int | None = None) -> None: ...

    class Inheriting(Base):
        """Defines neither get nor set."""

    cache, other = Inheriting(), Inheriting()
    attributes, own = dict(vars(cache)), {kind: dict(vars(kind)) for kind in Inheriting.__mro__}
    instrument(cache, **recording.providers)
    assert vars(cache) == attributes
    assert type(cache) is Inheriting
    for pickled in (DictCache().get, DictCache.get):
        pickle.loads(pickle.dumps(pickled))
    assert inspect.signature(cache.get) == inspect.signature(DictCache().get)
    other.get("key")
    assert recording.spans() == []
    uninstrument(cache)
    assert {kind: dict(vars(kind)) for kind in Inheriting.__mro__} == own
    cache.get("key")
    assert recording.spans() == []


def test_an_adapter_by_itself_that_fails(recording: Recording) -> None:
    cache = instrument(FailingCache("get", "set"), **recording.providers)
    with pytest.raises(ConnectionError):
        cache.get("key")
    with pytest.raises(ConnectionError):
        cache.set("key", "value", ttl=5)
    assert [span.status.status_code.name for span in recording.spans()] == ["ERROR", "ERROR"]
    assert recording.sums("llm_cache.backend.duration", "error.type") == {"ConnectionError": 2}
    assert recording.span("cache store").attributes["llm_cache.ttl"] == 5


def test_sizes_of_caches_are_summed_and_forgotten_with_the_cache(
    provider: SimulatedProvider, recording: Recording
) -> None:
    caches = [AutoCache(maxsize=10), AutoCache(maxsize=20)]
    client = instrument(make_client(provider), name="c", **recording.providers)
    for cache in caches:
        client.create(**REQUEST, cache=cache)
        client.create(**REQUEST, cache=cache)
    client.client.close()
    assert recording.sums("llm_cache.entries", "llm_cache.name") == {"c": 2}
    assert recording.sums("llm_cache.capacity", "llm_cache.name") == {"c": 30}
    del cache
    caches.pop()
    assert recording.sums("llm_cache.capacity", "llm_cache.name") == {"c": 10}


def test_entry_sizes_are_those_of_what_is_in_the_cache(
    provider: SimulatedProvider, recording: Recording
) -> None:
    cache = DictCache()
    client = instrument(make_client(provider, cache=cache), **recording.providers)
    client.create(**REQUEST)
    client.create(**REQUEST)
    client.client.close()
    (entry,) = cache.entries.values()
    hit = recording.spans("cache lookup")[1]
    for span in (recording.span("cache store"), hit):
        assert span.attributes["llm_cache.entry.size"] == len(entry.encode()) > 900


def test_a_cache_that_is_observed_by_itself_amid_a_call_tells_its_set_once(
    provider: SimulatedProvider, recording: Recording
) -> None:
    cache = AutoCache()

    class Late(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def observe(cls, value: str) -> str:
            instrument(cache, **recording.providers)
            return value

    client = instrument(make_client(provider, cache=cache), **recording.providers)
    client.create(**{**REQUEST, "response_model": Late})
    client.client.close()
    assert len(recording.spans("cache store")) == 1
    counted = {
        point.attributes["llm_cache.operation"]: point.count
        for metric, point in recording.raw_points()
        if metric.name == "llm_cache.backend.duration"
    }
    assert counted == {"get": 1, "set": 1}
