"""The providers' SDKs by themselves: every call once, to the token, with Instructor or without it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import inspect
import logging
import os
import pickle
import weakref
from typing import Any

import anthropic
import boto3
import instructor
import openai
import pytest
from google import genai
from opentelemetry.instrumentation.utils import suppress_instrumentation
from support.models import MESSAGES, DictCache, User
from support.recording import Recording
from support.sdk_ways import CLIENTS, KINDS, Kind, close
from support.sellers import MANUAL
from support.versions import namespace
from test_ledger import Counted, agrees

from llm_cache_otel import instrument, uninstrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.later import later

OUTCOMES = ("llm_cache.requests", "llm_cache.outcome")
EVERY_CLIENT = pytest.mark.parametrize(
    ("name", "asynchronous"),
    CLIENTS,
    ids=[f"{name} {'async' if asynchronous else 'sync'}" for name, asynchronous in CLIENTS],
)
EVERY_WAY = pytest.mark.parametrize(
    ("name", "asynchronous", "way"),
    [(name, asynchronous, way) for name, asynchronous in CLIENTS for way in KINDS[name].ways],
)


@pytest.fixture
def bank() -> Any:
    """A simulated provider whose prompt cache nobody else has written to."""
    with SimulatedProvider() as provider:
        yield provider


def attempt_of(kind: Kind) -> str:
    operation = "generate_content" if kind.provider.startswith("gcp") else "chat"
    return f"{operation} {kind.seller.model}"


def settle() -> None:
    """What is dropped is let go of, and told."""
    gc.collect()
    assert later.wait(5)


@EVERY_WAY
def test_every_way_is_counted_as_it_is_charged(
    name: str, asynchronous: bool, way: str, bank: SimulatedProvider, recording: Recording
) -> None:
    kind = KINDS[name]
    ask = kind.ways[way]

    async def run() -> None:
        client = kind.make(bank.url, asynchronous)
        assert instrument(client, name="shop", **recording.providers) is client
        for question in ("one?", "two?", "one?"):
            await ask(client, kind.request(MANUAL, question))
        await close(client)

    asyncio.run(run())
    settle()
    creates, attempts = recording.spans("create"), recording.spans(attempt_of(kind))
    assert len(creates) == len(attempts) == bank.ledger.requests == 3
    for create, attempt in zip(creates, attempts, strict=True):
        assert create.attributes["llm_cache.outcome"] == "off"
        assert create.attributes["llm_cache.name"] == "shop"
        assert create.attributes["llm_cache.attempts"] == 1
        assert create.attributes["gen_ai.provider.name"] == kind.provider
        assert attempt.attributes["gen_ai.provider.name"] == kind.provider
        assert attempt.attributes.get("gen_ai.request.stream", False) == ("stream" in way)
        assert attempt.parent.span_id == create.context.span_id
    first, *others = [each.attributes for each in attempts]
    assert first["llm_cache.prompt.outcome"] in ("write", "miss", "unreported")
    assert {each["llm_cache.prompt.outcome"] for each in others} == {"read"}
    if not kind.provider.startswith("gcp"):  # it takes less than Google says has to be there
        assert all(each["llm_cache.prompt.expected_tokens"] > 1000 for each in others)
    assert all(each["llm_cache.saved.cost"] > 0 for each in others)
    counted = Counted(recording)
    assert counted.sums["llm_cache.requests"] == 3
    assert counted.sums["llm_cache.prompt.requests"] == 3
    agrees(counted, kind.seller, bank)


@EVERY_WAY
def test_results_are_what_they_are_without_us(
    name: str, asynchronous: bool, way: str, bank: SimulatedProvider, recording: Recording
) -> None:
    kind = KINDS[name]

    async def run(observed: bool) -> Any:
        client = kind.make(bank.url, asynchronous)
        if observed:
            instrument(client, **recording.providers)
        try:
            answer = await kind.ways[way](client, kind.request("Be brief.", "one?"))
        finally:
            await close(client)
        return [
            (type(each), sorted(each.model_dump(exclude=VARIES)))
            for each in (answer if isinstance(answer, list) else [answer])
        ]

    assert asyncio.run(run(True)) == asyncio.run(run(False))


VARIES = {"id", "created", "created_at", "response_id", "create_time"}


@pytest.mark.parametrize("order", ["F", "SF", "FS", "FI", "SFI", "FSI", "FIS"])
@EVERY_CLIENT
def test_with_instructor_in_any_order_it_is_one_call_with_the_same_key(
    name: str, asynchronous: bool, order: str, provider: SimulatedProvider, recording: Recording
) -> None:
    """F Instructor makes a client of it, S the SDK's is instrumented, I Instructor's."""
    kind = KINDS[name]
    if kind.instructor is None:
        pytest.skip("Instructor takes it in another way")

    async def run() -> list[str]:
        sdk = kind.make(provider.url, asynchronous)
        if hasattr(sdk, "organization") and kind.provider == "anthropic":
            sdk.organization = None  # or Instructor builds no key
        cache = DictCache()
        client: Any = None
        for event in order:
            if event == "F":
                client = getattr(instructor, kind.instructor)(sdk, cache=cache, **namespace("all"))
            else:
                instrument(sdk if event == "S" else client, **recording.providers)
        request = {"model": kind.seller.model, "messages": MESSAGES, "response_model": User}
        if kind.provider == "anthropic":
            request["max_tokens"] = 100
        for _ in range(2):
            result = client.create(**request)
            assert (await result if inspect.isawaitable(result) else result).name
        await close(sdk)
        return list(cache.entries)

    before = provider.ledger.requests
    keys = asyncio.run(run())
    asked = provider.ledger.requests - before
    assert keys == KEYS.setdefault((name, asynchronous, provider.url), keys)
    attempts = recording.spans(attempt_of(kind))
    assert len(attempts) == (0 if order == "F" else asked)
    outcomes = recording.sums(*OUTCOMES)
    if "I" in order:
        assert outcomes == ({"miss": 1, "hit": 1} if keys else {"bypass": 2})
    else:
        assert outcomes == ({"off": asked} if "S" in order else {})


KEYS: dict[Any, list[str]] = {}


@pytest.mark.parametrize("order", ["SP", "PS", "SPS"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_with_instructors_patch_in_any_order(
    order: str, asynchronous: bool, provider: SimulatedProvider, recording: Recording
) -> None:
    """P it is patched. Whatever is handed in after that is counted with its cache, as ever."""

    async def run() -> None:
        client = KINDS["openai"].make(provider.url, asynchronous)
        for event in order:
            if event == "P":
                instructor.patch(client)
            else:
                instrument(client, **recording.providers)
        request = {"model": "gpt-4.1-mini", "messages": MESSAGES, "response_model": User}
        cache = DictCache()
        for _ in range(2):
            result = client.chat.completions.create(**request, cache=cache)
            assert (await result if inspect.isawaitable(result) else result).name
        uninstrument(client)
        result = client.chat.completions.create(**request)
        assert (await result if inspect.isawaitable(result) else result).name
        await close(client)

    asyncio.run(run())
    patched_first = order.endswith("PS")
    assert recording.sums(*OUTCOMES) == ({"miss": 1, "hit": 1} if patched_first else {"off": 1})
    assert len(recording.spans("chat gpt-4.1-mini")) == 1


@EVERY_CLIENT
def test_uninstrument_leaves_classes_and_clients_as_they_were(
    name: str, asynchronous: bool, provider: SimulatedProvider, recording: Recording
) -> None:
    kind = KINDS[name]
    client, other = (kind.make(provider.url, asynchronous) for _ in range(2))
    settle()
    before = classes(client)
    attributes = dict(vars(client))
    for _ in range(2):
        instrument(client, **recording.providers)
        assert changed(before, classes(client))
        assert dict(vars(client)) == attributes
        instrument(other, **recording.providers)
        assert uninstrument(client) is client
        assert changed(before, classes(client)), "the other is observed still"
        uninstrument(other)
        assert not changed(before, classes(client))
    assert uninstrument(client) is client, "twice is the same as once"

    async def run() -> None:
        await kind.ways["create"](client, kind.request("", "one?"))
        await close(client)
        await close(other)

    asyncio.run(run())
    assert recording.sums(*OUTCOMES) == {}


def classes(client: Any) -> dict[tuple[type, str], Any]:
    kinds = [*type(client).__mro__, openai.Stream, openai.AsyncStream]
    kinds += [
        anthropic.Stream,
        anthropic.AsyncStream,
        genai.models.Models,
        genai.models.AsyncModels,
    ]
    return {(kind, name): value for kind in kinds for name, value in vars(kind).items()}


def changed(before: dict[tuple[type, str], Any], after: dict[tuple[type, str], Any]) -> list[Any]:
    assert before.keys() == after.keys()
    return [place for place, value in before.items() if after[place] is not value]


@EVERY_CLIENT
def test_a_client_that_is_gone_leaves_nothing(
    name: str, asynchronous: bool, provider: SimulatedProvider, recording: Recording
) -> None:
    kind = KINDS[name]

    async def run() -> tuple[weakref.ref[Any], Any]:
        client = kind.make(provider.url, asynchronous)
        before = classes(client)
        instrument(client, **recording.providers)
        assert changed(before, classes(client))
        await kind.ways["create"](client, kind.request("", "one?"))
        await close(client)
        return weakref.ref(client), before

    settle()  # what other tests' clients have left
    reference, before = asyncio.run(run())
    settle()
    assert reference() is None
    assert [place for place, value in before.items() if vars(place[0])[place[1]] is not value] == []
    assert recording.sums(*OUTCOMES) == {"off": 1}


@pytest.mark.parametrize("name", ["openai", "azure", "anthropic"])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("method", ["copy", "with_options"])
def test_what_a_client_is_copied_to_is_observed_as_it_is(
    name: str, asynchronous: bool, method: str, provider: SimulatedProvider, recording: Recording
) -> None:
    kind = KINDS[name]

    async def run() -> None:
        client = kind.make(provider.url, asynchronous)
        unobserved = getattr(client, method)()
        instrument(client, name="shop", **recording.providers)
        derived = getattr(client, method)(timeout=7)
        assert type(derived) is type(client)
        assert derived.timeout == 7
        again = getattr(derived, method)()
        ask = lambda asked: kind.ways["create"](asked, kind.request("", "one?"))  # noqa: E731
        for each in (unobserved, derived, again):
            await ask(each)
        assert recording.sums("llm_cache.requests", "llm_cache.name") == {"shop": 2}
        instrument(derived, name="own", **recording.providers)
        await ask(derived)
        assert recording.sums("llm_cache.requests", "llm_cache.name") == {"own": 1}
        uninstrument(client)
        for each in (client, again, derived):
            await ask(each)
        assert recording.sums("llm_cache.requests", "llm_cache.name") == {"own": 1}
        uninstrument(derived)
        await ask(derived)
        assert recording.sums("llm_cache.requests", "llm_cache.name") == {}
        await close(client)

    asyncio.run(run())


@EVERY_CLIENT
@pytest.mark.parametrize("fate", ["status", "timeout", "cancelled"])
def test_what_the_program_sees_fail_is_told_and_raised(
    name: str, asynchronous: bool, fate: str, provider: SimulatedProvider, recording: Recording
) -> None:
    kind = KINDS[name]
    if fate == "cancelled" and not asynchronous:
        pytest.skip("only tasks are cancelled")
    cue = Cue(status=500) if fate == "status" else Cue(delay=5)

    async def run() -> None:
        timeout = {"timeout": 300 if name.startswith("genai") else 0.3}
        client = kind.make(provider.url, asynchronous, **timeout if fate == "timeout" else {})
        instrument(client, **recording.providers)
        provider.cues.add(cue)
        asking = kind.ways["create"](client, kind.request("", "one?"))
        raised = TimeoutError if fate == "cancelled" else Exception
        with pytest.raises(raised) as error:
            await asyncio.wait_for(asking, 0.3 if fate == "cancelled" else None)
        errors.append(type(error.value))
        await close(client)

    errors: list[type] = []
    asyncio.run(run())
    create, attempt = recording.span("create"), recording.span(attempt_of(kind))
    told = create.attributes["error.type"]
    assert attempt.attributes["error.type"] == told
    if fate == "cancelled":
        assert told == "asyncio.exceptions.CancelledError"
    else:
        assert told.rsplit(".", 1)[-1] == errors[0].__name__
        status, timeouts = kind.errors
        assert told in ((status,) if fate == "status" else timeouts)
    assert recording.sums("llm_cache.unpriced.requests", "gen_ai.request.model") == {}


def test_an_answer_that_can_not_be_parsed_was_paid_for(
    bank: SimulatedProvider, recording: Recording
) -> None:
    kind = KINDS["openai"]
    client = instrument(kind.make(bank.url, False), **recording.providers)
    bank.cues.add(Cue(answer={"name": 3}))
    with pytest.raises(Exception, match="validation error"):
        asyncio.run(kind.ways["parse"](client, kind.request(MANUAL, "one?")))
    client.close()
    attempt = recording.span(attempt_of(kind))
    assert attempt.attributes["error.type"].endswith("ValidationError")
    agrees(Counted(recording), kind.seller, bank)


@EVERY_CLIENT
def test_what_is_suppressed_is_not_observed(
    name: str, asynchronous: bool, provider: SimulatedProvider, recording: Recording
) -> None:
    kind = KINDS[name]

    async def run() -> None:
        client = instrument(kind.make(provider.url, asynchronous), **recording.providers)
        with suppress_instrumentation():
            await kind.ways["create"](client, kind.request("", "one?"))
        await close(client)

    asyncio.run(run())
    assert recording.spans() == []


def test_what_is_no_inference_passes_through(recording: Recording) -> None:
    import httpx

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"object": "list", "data": [], "model": "m"})

    http_client = httpx.Client(transport=httpx.MockTransport(answer))
    client = openai.OpenAI(api_key="k", http_client=http_client)
    instrument(client, **recording.providers)
    assert client.models.list().data == []
    client.embeddings.with_raw_response.create(model="m", input="one?")
    client.close()
    assert recording.spans() == []


def test_a_body_that_is_streamed_is_left_to_the_program(
    provider: SimulatedProvider, recording: Recording
) -> None:
    """And what it is charged for is unknown."""
    kind = KINDS["openai"]
    client = instrument(kind.make(provider.url, False), **recording.providers)
    manager = client.chat.completions.with_streaming_response.create(**kind.request("", "one?"))
    assert recording.spans() == []
    with manager as response:
        assert not response.http_response.is_closed
        assert response.parse().choices
    client.close()
    attempt = recording.span(attempt_of(kind))
    assert attempt.attributes["llm_cache.prompt.outcome"] == "unreported"
    sums = recording.sums("llm_cache.unpriced.requests", "llm_cache.unpriced.reason")
    assert sums == {"no_usage": 1}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_functions_that_gemini_calls_are_the_programs(
    asynchronous: bool, bank: SimulatedProvider, recording: Recording
) -> None:
    """What they ask is a call of its own; and of several requests only the last one's tokens are said."""
    kind = KINDS["genai, async" if asynchronous else "genai"]
    client = instrument(kind.make(bank.url, asynchronous), **recording.providers)
    within: list[Any] = []

    def look_up(name: str) -> str:
        """Look it up."""
        within.append(client.models.generate_content(model=kind.seller.model, contents=name))
        return "found"

    async def run() -> None:
        config = {
            "tools": [look_up],
            "automatic_function_calling": {"maximum_remote_calls": 2},
        }
        request = {"model": kind.seller.model, "contents": "one?", "config": config}
        await kind.ways["create"](client, request)
        await close(client)

    asyncio.run(run())
    assert len(within) == 1, "the simulated provider calls what it is given"
    assert bank.ledger.requests == 3
    inner, outer = recording.spans("create")
    assert inner.parent.span_id != outer.context.span_id
    told = {span.parent.span_id: span for span in recording.spans(attempt_of(kind))}
    assert told[inner.context.span_id].attributes["gen_ai.usage.input_tokens"] > 0
    assert "gen_ai.usage.input_tokens" not in told[outer.context.span_id].attributes
    sums = recording.sums("llm_cache.unpriced.requests", "llm_cache.unpriced.reason")
    assert sums == {"no_usage": 1}


@pytest.mark.parametrize(
    ("make", "provider_name"),
    [
        (lambda url: genai.Client(api_key="k"), "gcp.gemini"),
        (
            lambda url: anthropic.AnthropicBedrock(
                base_url=url,
                aws_region="us-east-1",
                aws_access_key="k",
                aws_secret_key="k",
                max_retries=0,
            ),
            "aws.bedrock",
        ),
    ],
    ids=["gemini", "bedrock"],
)
def test_the_providers_name(make: Any, provider_name: str, recording: Recording) -> None:
    client = make("http://127.0.0.1:1")
    instrument(client, **recording.providers)
    kind = KINDS["genai" if provider_name.startswith("gcp") else "anthropic"]
    if provider_name == "gcp.gemini":
        client._api_client._http_options.base_url = "http://127.0.0.1:1"
    with pytest.raises(Exception, match=r"."):
        asyncio.run(kind.ways["create"](client, kind.request("", "one?")))
    client.close()
    assert recording.span("create").attributes["gen_ai.provider.name"] == provider_name


# A half-copied httpx client, the SDK's own, complains when it is dropped.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@EVERY_CLIENT
def test_methods_look_the_same_and_can_do_no_more(
    name: str, asynchronous: bool, provider: SimulatedProvider, recording: Recording
) -> None:
    kind = KINDS[name]

    def seen(client: Any) -> list[Any]:
        method = client.request if hasattr(client, "request") else client.models.generate_content
        if name == "genai, async":
            method = client.aio.models.generate_content
        return [
            type(method),
            method.__name__,
            method.__qualname__,
            method.__module__,
            method.__doc__,
            inspect.signature(method),
            inspect.iscoroutinefunction(method),
            copy.copy(method).__name__,
            _fate(copy.deepcopy, method),
            _fate(pickle.dumps, method),
        ]

    client = kind.make(provider.url, asynchronous)
    before = seen(client)
    instrument(client, **recording.providers)
    assert seen(client) == before
    asyncio.run(close(client))
    gc.collect()


def _fate(function: Any, argument: Any) -> type:
    try:
        return type(function(argument))
    except Exception as error:
        return type(error)


@pytest.mark.parametrize(
    "target",
    [
        openai.OpenAI,
        genai.Client,
        openai.OpenAI(api_key="k").chat.completions,
        openai.OpenAI(api_key="k").with_raw_response,
        anthropic.Anthropic(api_key="k").messages,
        genai.Client(api_key="k").models,
        genai.Client(api_key="k").aio,
    ],
    ids=lambda target: getattr(target, "__name__", type(target).__name__),
)
@pytest.mark.parametrize("door", [instrument, uninstrument])
def test_parts_of_a_client_are_refused_with_the_mend(door: Any, target: Any) -> None:
    with pytest.raises(TypeError, match="Hand in the client itself") as refused:
        door(target)
    message = str(refused.value)
    assert f"{door.__name__}() was given" in message
    assert "genai.Client" in message
    assert type(target).__name__ in message or target.__name__ in message


def test_a_client_of_botos_is_refused_with_the_mend() -> None:
    client = boto3.client("bedrock-runtime", region_name="us-east-1")
    with pytest.raises(TypeError, match="from_bedrock"):
        instrument(client)


def test_twice_is_once_and_says_so(
    provider: SimulatedProvider, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    kind = KINDS["openai"]
    client = instrument(kind.make(provider.url, False), name="first", **recording.providers)
    with caplog.at_level(logging.WARNING, "llm_cache_otel"):
        assert instrument(client) is client
        assert not caplog.text
        instrument(client, name="second")
    assert "what it was told the first time still holds" in caplog.text
    asyncio.run(kind.ways["create"](client, kind.request("", "one?")))
    client.close()
    assert recording.sums("llm_cache.requests", "llm_cache.name") == {"first": 1}


def test_many_threads_each_count_their_own(
    provider: SimulatedProvider, recording: Recording
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    kind = KINDS["openai"]
    clients = [kind.make(provider.url, False) for _ in range(2)]
    instrument(clients[0], **recording.providers)

    def ask(number: int) -> None:
        client = clients[number % 2]
        asyncio.run(kind.ways["create"](client, kind.request("", f"{number}?")))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(40)))
    for client in clients:
        client.close()
    assert recording.sums(*OUTCOMES) == {"off": 20}
    creates = {span.context.span_id for span in recording.spans("create")}
    assert {span.parent.span_id for span in recording.spans(attempt_of(kind))} == creates


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_that_is_forked_observes_on(
    provider: SimulatedProvider, recording: Recording
) -> None:
    """What its parent has handed in, and what it hands in itself."""
    kind = KINDS["openai"]
    client = instrument(kind.make(provider.url, False), **recording.providers)

    def in_child() -> int:
        own = kind.make(provider.url, False)
        others = Recording()
        instrument(own, **others.providers)
        for each in (own, client.with_options(http_client=own._client)):
            asyncio.run(kind.ways["create"](each, kind.request("", "one?")))
        return 10 * len(others.spans("create")) + len(recording.spans("create"))

    child = os.fork()
    if child == 0:
        told = 0
        with contextlib.suppress(BaseException):
            told = in_child()
        os._exit(told)
    _, status = os.waitpid(child, 0)
    client.close()
    assert os.waitstatus_to_exitcode(status) == 11
    assert recording.spans() == []
