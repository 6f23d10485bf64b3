"""Every function of ours on the call path fails inside live calls: the program does not notice."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterator
from typing import Any, Union

import instructor
import pytest
from instructor.cache import AutoCache
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import NonRecordingSpan, NoOpTracerProvider, SpanContext, use_span
from support.models import MESSAGES, City, DictCache, FailingCache, User
from support.recording import Recording
from support.sabotage import FUNCTIONS, Broken
from support.versions import KEYS_CAN_FAIL, max_retries, namespace
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.instrumentor import LLMCacheInstrumentor
from llm_cache_otel.later import later

REQUEST: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "response_model": User}

TRUSTED = {
    # The guard itself, and what runs the host's code between two guards: they are the net.
    "guard.Guard.__call__",
    "guard.Guard.__init__",
    "guard.Guard.swallows",
    "guard.Guarded.__init__",
    "guard.Guarded.__exit__",
    "observe.step.observe",
    "observe.step.Observing.__init__",
    "observe.step.Observing.__enter__",
    "observe.step.Observing.__exit__",
    "observe.step.Observing.returned",
    "observe.step.Observing.leave",
    "observe.stream._end",
    "observe.clients._Create.__get__",
    "observe.clients._Create.__set__",
    "observe.clients._Create.__delete__",
    "observe.clients.ObservedClients._drop",
    "observe.clients.ObservedClients.swallows",
    "observe.seams.Seams.missed",
    *("observe.seams.Seams._drop", "observe.every_client._Patches._drop"),
    "observe.target.Watch.is_on",
    "observe.clients._held_by",  # what every reading of a client's function begins with
    "observe.every_client._Patches.patch",
    "observe.seams._key",
    *("observe.cache_use.asking", "observe.cache_use._in_memory", "observe.step.step_back"),
    *("observe.cache_use.MemoryTap.get", "observe.cache_use.MemoryTap.set"),
    "observe.seams._retry_sync",
    "observe.seams._retry_async",
    *("observe.backend.Tap.get", "observe.backend.Tap.set", "observe.backend._observed"),
    *("observe.store_methods.StoreMethods.get", "observe.store_methods._awaited"),
    "observe.backend.is_busy",
    "observe.attempt.HookTap.emit_parse_error",
    # What the host's chunks pass through; what is done with a chunk is guarded.
    *(
        f"observe.stream._Watched.{name}"
        for name in ("_chunk", "_ended", "__class__", "__getattr__")
    ),
    *(f"observe.stream._Watched.{name}" for name in ("__reduce_ex__", "__repr__")),
    *(f"observe.stream._Generator.{name}" for name in ("__iter__", "__next__", "send", "throw")),
    *(f"observe.stream._Generator.{name}" for name in ("_take", "close")),
    *(f"observe.stream._AsyncGenerator.{name}" for name in ("__aiter__", "__anext__", "asend")),
    *(f"observe.stream._AsyncGenerator.{name}" for name in ("athrow", "_take", "aclose")),
    "observe.store_methods.operate",
    # What the host asks of a span of ours that is current: it is the SDK's that answers.
    *(f"emit.lazy.LazySpan.{name}" for name in ("started", "_begin")),  # what that calls is guarded
    *(f"emit.lazy.LazySpan.{name}" for name in ("get_span_context", "is_recording")),
    *(f"emit.lazy.LazySpan.{name}" for name in ("set_attribute", "set_attributes", "add_event")),
    *(f"emit.lazy.LazySpan.{name}" for name in ("add_link", "update_name", "set_status", "end")),
    *("emit.lazy.LazySpan.record_exception", "emit.lazy.LazySpan.__getattr__"),
    "emit.whole_span.WholeSpan.__getattr__",  # and of one that has ended: test_whole_spans.py
}
OFF_THE_PATH = (
    # What runs at the front door, when a target is instrumented or let go, and at exit.
    *("forks.", "arguments.", "instrument.", "instrumentor.", "observe.doors.", "reporters."),
    *("settings.", "_"),
    *(
        "emit.bounded.Bounded.__init__",
        "emit.spans.Spans.__init__",
        "emit.dropping.Dropping.__init__",
        "emit.dropping._is_plain",
    ),
    "emit.whole_span.WholeSpans.__init__",
    *(
        "emit.gauges.Gauges.__init__",
        "emit.gauges.Gauges.include",
        "emit.gauges.Inventory.__init__",
        "emit.gauges.Inventory.before_collection",
    ),
    *("emit.metrics.Metrics.__init__", "emit.signals.", "reporter.Reporter.__init__"),
    "reporter.Reporter.before_collection",
    *(
        *("observe.boundary.", "observe.target.Watch.tell"),
        *("outside.", "forks._note"),  # and see test_from_outside.py
        *(
            f"observe.clients.ObservedClients.{name}"
            for name in ("__init__", "is_given", "add", "remove")
        ),
        *(
            f"observe.clients.ObservedClients._{name}"
            for name in ("forget", "put_in_place", "clear_away")
        ),
        "observe.clients.ObservedClients.obstacle",
        "observe.clients._Create.__init__",
        "observe.every_client.EveryClient.",
        *("observe.every_client._Patches.__init__", "observe.every_client._Patches.close"),
        *(
            f"observe.seams.Seams.{name}"
            for name in ("__init__", "expect_all", "open_for", "close_for")
        ),
    ),
    *(
        "observe.sdk._module",
        # Whoever says what was put, and what surrounds that; what is said guards itself.
        *(f"later.Later.{name}" for name in ("__init__", "_begin_anew", "wait", "_run", "_do_all")),
        *(f"later.Later.{name}" for name in ("_do_one", "_close", "_has_helped")),  # test_later.py
        "later.Later.flush",
        *("later.Later._do_next", "later.Later._do_closing", "forks.within"),
        *(f"later.Later.{name}" for name in ("pause", "resume", "end")),  # of forks
        *(f"reporter.Reporter.{name}" for name in ("_say", "_pass_on", "_load", "tell")),
        "observe.call.Call.tell",
        "later._guarded",
        "observe.remembered.Remembered.__init__",
        "emit.lazy._AroundForks.",
        # Called by an application's provider: test_later.py
        *("emit.ahead.", "emit.tally.Tally.__init__", "emit.tally.Tallies.__init__"),
        "emit.tally.Tallies.counter",
        *("emit.durations.Durations.__init__", "emit.metrics.Metrics._durations"),
        *("later.Later.at_exit", "later.Later._exit"),  # of children: test_forks.py
        *("later.Later.first_at_exit", "later.Later._wait_at_exit"),  # test_exit.py
        "observe.stream._drop_held",  # test_exit.py
        *("later.Later.come_first_at_exit", "later.Later.ready"),  # test_pipeline_safety.py
        *("observe.seams._is_open", "observe.seams.is_seam"),
        "observe.seams.replaced",
        "observe.instructor_api.",
    ),
    # The SDK's collection calls these; the SDK is what catches them, and what they ask is guarded.
    *("emit.gauges.Gauges._entries", "emit.gauges.Gauges._capacity"),
    *("emit.gauges.Gauges._sums", "emit.gauges.Gauges._schema_info"),
    # A pipeline of our own: test_pipeline_safety.py.
    *("emit.environment.", "emit.pipeline."),
    "emit.log.Notes.",
)
UNLESS_GIVEN = (
    "observe.clients.ObservedClients._made_known",
    *("observe.clients._Known.__init__", "observe.clients._value"),
    *("observe.every_client._Patches._observed", "observe.every_client._Patches._watch"),
    *("observe.clients.ObservedClients.replaced", "observe.clients.ObservedClients._get"),
)
"""What runs in live calls of clients that were never given to `instrument`."""
WHERE_KEYS_CAN_FAIL = ("observe.key_part.", "interpret.advice._serialization_mend")
ELSEWHERE = (
    # test_money_safety.py
    *("interpret.usage.", "interpret.price", "interpret.rates.", "interpret.bills."),
    *(
        "interpret.stored_calls.",
        "interpret.inference.",
        "observe.reported.",
        "observe.noted_answer.",
        "emit.bill_",
        "facts.",
    ),
    *("reporter.Reporter._dropped_count", "observe.inference_response.reports_all"),
    # test_function_safety.py
    *("observe.function", "observe.store", "observe.spending.", "observe.model_source."),
    "observe.step.FunctionSurroundings.",
    *("interpret.function_hits.", "interpret.advice.stale_model", "emit.gauges.Inventory.prepare"),
    *("emit.metrics.Metrics.record_function_hits", "reporter.Reporter.ready"),
    *("reporter.Reporter.function_hits", "reporter.Reporter._say_hits"),
    # test_reason_safety.py
    *("interpret.fingerprint.", "interpret.miss_reason.", "interpret.earlier_requests."),
    "interpret.histories.",
    *("interpret.prompt_", "interpret.sent_prompts.", "interpret.patterns."),
    *("observe.sections.", "observe.sent_prompt.", "observe.keyed_request.", "emit.miss_"),
    *("observe.snapshot.", "observe.adapter._place", "observe.adapter.full_at"),
    "observe.adapter.honours_ttl",
    *("observe.adapter._is_plain", "observe.adapter._reads_ttl"),
    "interpret.outcome._without_lookup",  # with an Instructor whose insides have moved: test_insides.py
    "reporter.Reporter.missed_call",  # test_instrumentor.py
    # test_sdk_safety.py
    *("observe.sdk_clients.", "observe.sdk_methods.", "observe.sdk_call."),
    *("observe.stream.host_closed", "observe.answers.body_of"),
)
OF_CACHED_FUNCTIONS = (
    *("caching.", "observe.entry_function."),
    *("observe.response_model._enclosed", "observe.response_model.return_annotation"),
)
"""test_instructor_cache_safety.py"""
COUNTING = (
    *("emit.metrics.Metrics.count_error", "emit.log.warn_once", "reporter.Reporter._report_error"),
    *("emit.signals.Route.signals", "emit.signals.Signals.are_ours"),
    "observe.clients.ObservedClients._report_error",
)
"""What counts errors can't count its own; it is broken in a test of its own."""


SABOTAGED = [
    name
    for name in FUNCTIONS
    if name not in TRUSTED
    and not name.startswith(
        (*OFF_THE_PATH, *COUNTING, *UNLESS_GIVEN, *ELSEWHERE, *OF_CACHED_FUNCTIONS)
    )
    and (KEYS_CAN_FAIL or not name.startswith(WHERE_KEYS_CAN_FAIL))
]


Observe = Callable[..., None]
NAMESPACE = namespace("program")
NOT_SAMPLED = NonRecordingSpan(SpanContext(7, 8, is_remote=False))
ONE_ATTEMPT = {"max_retries": max_retries(attempts=1)}
WANTED = {"response_format": {"type": "json_object"}, "seed": 3}
OTHER = {**REQUEST, "messages": [{"role": "user", "content": "Grace is 85"}]}


def iterate() -> Iterator[int]:
    """A provider's stream, without a provider."""
    yield from range(3)


def as_google_has_it(entry: str) -> str:
    return entry.replace('"id\\":', '"response_id\\":', 1)


def sync_program(provider: SimulatedProvider, observe: Observe) -> list[Any]:
    """A bit of everything; returns all that the program sees."""
    seen: list[Any] = []
    cache, own = AutoCache(), DictCache()
    client = make_client(provider, cache=cache, **NAMESPACE)
    in_own = {"cache": own, **NAMESPACE}
    sdk = client.client.copy()
    patched = instructor.patch(client.client.copy())
    by_hand = instructor.Instructor(
        None, create=instructor.patch(create=sdk.chat.completions.create)
    )
    no_http = instructor.Instructor(None, create=instructor.patch(create=lambda **_: iterate()))
    around = instructor.Instructor(
        None, create=lambda *args, **kwargs: client.create_fn(*args, **kwargs)
    )
    observe(client, own, patched, by_hand, no_http, around)
    seen.append(around.create(**{**OTHER, "response_model": City}).model_dump())
    neighbour = OpenAIInstrumentor()
    neighbour.instrument(tracer_provider=NoOpTracerProvider(), skip_dep_check=True)
    seen.append(patched.chat.completions.create(**REQUEST, **in_own).model_dump())
    neighbour.uninstrument()
    seen.append(by_hand.create(**OTHER, **in_own).model_dump())
    provider.cues.add(Cue(answer={}))
    with use_span(NOT_SAMPLED):
        seen.append(client.create(**REQUEST).model_dump())
    seen.append([type(each).__name__ for each in client.create_with_completion(**REQUEST)])
    seen.append(client.create(**REQUEST, cache=own, cache_ttl=5).model_dump())
    seen += [sorted(own.entries.items()), own.get("nothing")]
    own.entries = {key: as_google_has_it(entry) for key, entry in own.entries.items()}
    seen.append(client.create(**REQUEST, cache=own).model_dump())
    seen.append([user.model_dump() for user in client.create_iterable(**REQUEST)])
    closed = no_http.create(**{**REQUEST, "response_model": None}, stream=True)
    seen.append(next(closed))
    closed.close()
    seen.append(list(client.create_partial(**REQUEST))[-1].model_dump())
    seen.append(client.create(**{**REQUEST, "response_model": int}))
    seen.append(client.create(**{**REQUEST, "response_model": Union[User, City]}).model_dump())
    seen.append(client.create(**REQUEST, context={"x": {1, 2}}).model_dump())
    stream = client.create(**{**REQUEST, "response_model": None}, **WANTED, stream=True)
    seen.append([chunk.id for chunk in stream])
    with suppress_instrumentation():
        seen.append(client.create(**REQUEST).model_dump())
        try:
            client.create(**REQUEST, cache=FailingCache("get"))
        except Exception as error:
            seen.append((type(error), str(error)))
    provider.cues.add(Cue(status=500))
    own.entries = dict.fromkeys(own.entries, "no JSON")
    seen.append(len(own.entries))
    for broken_cache in (cache, FailingCache("get"), FailingCache("set"), own):
        try:
            request = REQUEST if broken_cache is own else OTHER
            client.create(**request, **ONE_ATTEMPT, cache=broken_cache)
        except Exception as error:
            seen.append((type(error), type(error.__cause__), str(error)))
    for closed in (client.client, sdk, patched):
        closed.close()
    return seen


async def async_program(provider: SimulatedProvider, observe: Observe) -> list[Any]:
    seen: list[Any] = []
    client = make_client(provider, asynchronous=True, cache=AutoCache(), **NAMESPACE)
    observe(client)
    seen.append((await client.create(**REQUEST)).model_dump())
    seen.append((await client.create(**REQUEST)).model_dump())
    seen.append([user.model_dump() async for user in client.create_iterable(**REQUEST)])
    provider.cues.add(Cue(status=500))
    try:
        await client.create(**OTHER, **ONE_ATTEMPT)
    except Exception as error:
        seen.append((type(error), type(error.__cause__), str(error)))
    await client.client.close()
    return seen


def both(provider: SimulatedProvider, observe: Observe) -> list[Any]:
    """Both programs, in a context of their own: what is broken may be what would leave it again."""
    own = contextvars.copy_context()
    return [
        *own.run(sync_program, provider, observe),
        *own.run(asyncio.run, async_program(provider, observe)),
    ]


@pytest.fixture
def may_fail_inside() -> bool:
    return True


@pytest.fixture(scope="module")
def without_us(simulated_provider: SimulatedProvider) -> list[Any]:
    return both(simulated_provider, lambda *targets: None)


@pytest.mark.parametrize("name", SABOTAGED)
def test_the_program_sees_what_it_saw_without_us(
    name: str,
    provider: SimulatedProvider,
    recording: Recording,
    without_us: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    sabotage = Broken(FUNCTIONS[name])
    held: list[Any] = []  # with their caches, until all is told

    def observe(*targets: Any) -> None:
        sabotage.stop()
        for target in targets:
            instrument(target, **recording.providers)
        held.extend(targets)
        sabotage.start()

    errors = ("llm_cache.instrumentation.errors", "llm_cache.instrumentation.where")
    try:
        seen = both(provider, observe)
        later.wait(5)
        counted = recording.sums(*errors)  # a collection, with the function still broken
    finally:
        sabotage.stop()
    assert seen == without_us
    assert sabotage.runs, "is it dead, or does the program above miss it?"
    counted = counted or recording.sums(*errors)
    assert counted, f"{name} failed {sabotage.runs} times, and nobody counted it"


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in FUNCTIONS
        if name.startswith((*UNLESS_GIVEN, "observe.clients.ObservedClients.watched"))
    ],
)
def test_nor_does_a_program_that_was_not_changed_for_us(
    name: str,
    provider: SimulatedProvider,
    recording: Recording,
    without_us: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    sabotage = Broken(FUNCTIONS[name])
    LLMCacheInstrumentor().instrument(**recording.providers)
    sabotage.start()
    try:
        seen = both(provider, lambda *targets: None)
    finally:
        sabotage.stop()
        LLMCacheInstrumentor().uninstrument()
    assert seen == without_us
    assert sabotage.runs, "is it dead, or does the program above miss it?"
    assert recording.sums("llm_cache.instrumentation.errors", "llm_cache.instrumentation.where")


@pytest.mark.parametrize("name", COUNTING)
def test_even_when_the_counting_of_errors_fails(
    name: str, provider: SimulatedProvider, recording: Recording, without_us: list[Any]
) -> None:
    at_client = name.startswith("observe.clients.")
    cause = Broken(
        FUNCTIONS[
            "observe.clients.ObservedClients.watched"
            if at_client
            else "interpret.outcome.outcome_of"
        ]
    )
    counting = Broken(FUNCTIONS[name])

    def observe(*targets: Any) -> None:
        for target in targets:
            instrument(target, **recording.providers)
        counting.start()
        cause.start()

    try:
        seen = sync_program(provider, observe)
    finally:
        cause.stop()
        counting.stop()
    assert seen == without_us[: len(seen)]
    assert counting.runs


def test_what_is_trusted_or_off_the_path_exists() -> None:
    """So that the lists above can't go stale."""
    assert set(FUNCTIONS) >= TRUSTED | set(COUNTING)
    for prefix in (*OFF_THE_PATH, *UNLESS_GIVEN, *WHERE_KEYS_CAN_FAIL, *OF_CACHED_FUNCTIONS):
        if prefix != "_":
            assert any(name.startswith(prefix) for name in FUNCTIONS), prefix
