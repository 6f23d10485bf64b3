"""Other instrumentations of the same calls, each the real one, and what they and we tell together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import anthropic
import instructor
import logfire
import openai
from anthropic.resources.messages import AsyncMessages, Messages
from openai.resources.chat.completions import AsyncCompletions, Completions
from openai.resources.responses import AsyncResponses, Responses
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from llm_cache_otel import Settings, instrument, uninstrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.instrumentor import LLMCacheInstrumentor
from support.clients import close, make, request_for
from support.models import DictCache
from support.recording import Recording

Undo = Callable[[], Any]
Providers = dict[str, Any]

OURS = "llm_cache_otel"
DURATION = "gen_ai.client.operation.duration"


@dataclass(frozen=True)
class Kind:
    """A kind of client."""

    maker: str
    mode: instructor.Mode | None = None
    streams: bool = False


OPENAI = Kind("from_openai", streams=True)
RESPONSES = Kind("from_openai", instructor.Mode.RESPONSES_TOOLS, streams=True)
PATCHED = Kind("instructor.patch(client)")
ANTHROPIC = Kind("from_anthropic")
GENAI = Kind("from_genai")


@dataclass(frozen=True)
class Neighbour:
    """Another instrumentation: `install(providers, sdk_client)` gives what takes it away again.

    `providers` makes those that it and we use, `on_client` is whether it is put on one client.
    """

    kinds: tuple[Kind, ...]
    install: Callable[[Providers, Any], Undo]
    providers: Callable[[Recording], Providers] = lambda recording: recording.providers
    on_client: bool = False
    own_spans: bool = False


def _instrumentor(module: str, name: str, **options: Any) -> Callable[[Providers, Any], Undo]:
    """One that derives from `BaseInstrumentor`. Imported only when it is used: not all go together."""

    def install(providers: Providers, client: Any) -> Undo:
        instrumentor: BaseInstrumentor = getattr(import_module(module), name)()
        instrumentor.instrument(**providers, **options)
        return instrumentor.uninstrument

    return install


_OPENAI_KINDS = (OPENAI, RESPONSES)
_OPEN_INFERENCE = "openinference.instrumentation"
_OPEN_TELEMETRY = "opentelemetry.instrumentation"


def _openllmetry_openai(providers: Providers, client: Any) -> Undo:
    from opentelemetry.instrumentation.openai.v1 import responses_wrappers

    responses_wrappers.responses.clear()  # by id, and it tells no answer twice
    return _instrumentor(f"{_OPEN_TELEMETRY}.openai", "OpenAIInstrumentor")(providers, client)


def _logfire(recording: Recording) -> Providers:
    """Logfire's own tracer provider, which ours and its are said through."""
    made = logfire.configure(
        local=True,
        send_to_logfire=False,
        console=False,
        metrics=False,
        additional_span_processors=[SimpleSpanProcessor(recording.exporter)],
    )
    return {
        "tracer_provider": made.config.get_tracer_provider(),
        "meter_provider": recording.meter_provider,
        "logfire": made,
    }


def _entered(instrumented: AbstractContextManager[None]) -> Undo:
    stack = ExitStack()
    stack.enter_context(instrumented)
    return stack.close


def _classes(name: str, *classes: Any) -> Callable[[Providers, Any], Undo]:
    def install(providers: Providers, client: Any) -> Undo:
        method = getattr(providers["logfire"], f"instrument_{name}")
        undos = [_entered(method(each)) for each in classes or (client,)]
        return lambda: [undo() for undo in undos]

    return install


def _nothing(providers: Providers, client: Any) -> Undo:
    return lambda: None


NEIGHBOURS = {
    "OpenInference Instructor": Neighbour(
        (OPENAI, PATCHED), _instrumentor(f"{_OPEN_INFERENCE}.instructor", "InstructorInstrumentor")
    ),
    "OpenInference OpenAI": Neighbour(
        _OPENAI_KINDS, _instrumentor(f"{_OPEN_INFERENCE}.openai", "OpenAIInstrumentor")
    ),
    "OpenInference Anthropic": Neighbour(
        (ANTHROPIC,), _instrumentor(f"{_OPEN_INFERENCE}.anthropic", "AnthropicInstrumentor")
    ),
    "OpenLLMetry OpenAI": Neighbour(_OPENAI_KINDS, _openllmetry_openai),
    "OpenLLMetry Anthropic": Neighbour(
        (ANTHROPIC,), _instrumentor(f"{_OPEN_TELEMETRY}.anthropic", "AnthropicInstrumentor")
    ),
    "OpenTelemetry openai-v2": Neighbour(
        _OPENAI_KINDS, _instrumentor(f"{_OPEN_TELEMETRY}.openai_v2", "OpenAIInstrumentor")
    ),
    "OpenTelemetry genai-openai": Neighbour(
        _OPENAI_KINDS, _instrumentor(f"{_OPEN_TELEMETRY}.genai.openai", "OpenAIInstrumentor")
    ),
    "OpenTelemetry genai-anthropic": Neighbour(
        (ANTHROPIC,), _instrumentor(f"{_OPEN_TELEMETRY}.genai.anthropic", "AnthropicInstrumentor")
    ),
    "OpenTelemetry google-genai": Neighbour(
        (GENAI,),
        _instrumentor(
            f"{_OPEN_TELEMETRY}.google_genai",
            "GoogleGenAiSdkInstrumentor",
            skip_dep_check=True,  # it asks for google-genai < 3, and works with 3
        ),
    ),
    "Logfire OpenAI": Neighbour(
        _OPENAI_KINDS, _classes("openai", openai.OpenAI, openai.AsyncOpenAI), _logfire
    ),
    "Logfire OpenAI, one client": Neighbour(
        _OPENAI_KINDS, _classes("openai"), _logfire, on_client=True
    ),
    "Logfire Anthropic": Neighbour(
        (ANTHROPIC,),
        _classes("anthropic", anthropic.Anthropic, anthropic.AsyncAnthropic),
        _logfire,
    ),
    "Logfire Anthropic, one client": Neighbour(
        (ANTHROPIC,), _classes("anthropic"), _logfire, on_client=True
    ),
    "Anthropic's own": Neighbour((ANTHROPIC,), _nothing, own_spans=True),
}


@dataclass(frozen=True)
class Inference:
    """What one inference span tells, in whichever dialect."""

    scope: str
    input_tokens: int
    output_tokens: int
    error: str | None


@dataclass(frozen=True)
class Told:
    """What a program saw in one situation, how often it asked the provider, and what was told of it."""

    result: Any
    asked: int
    spans: list[ReadableSpan]
    durations: dict[Any, float]

    @property
    def raised(self) -> bool:
        return isinstance(self.result, tuple)

    @property
    def inferences(self) -> list[Inference]:
        spans = sorted(self.spans, key=lambda span: span.start_time or 0)
        return [_inference(span) for span in spans if is_inference(span)]

    @property
    def tokens(self) -> tuple[int, int]:
        """Of all spans: Logfire tells a stream's on a span that it opens at its end."""
        told = [_inference(span) for span in self.spans]
        return sum(each.input_tokens for each in told), sum(each.output_tokens for each in told)

    @property
    def dollars(self) -> set[str]:
        """Which are told, on our spans only. How much would vary: OpenLLMetry changes what is asked."""
        names = ("llm_cache.spent.cost", "llm_cache.saved.cost", "llm_cache.saved.tokens.input")
        creates = [span.attributes or {} for span in self.spans if span.name.startswith("create")]
        return {name for name in names for attributes in creates if attributes.get(name)}


def is_inference(span: ReadableSpan) -> bool:
    attributes = span.attributes or {}
    if attributes.get("logfire.span_type") == "log":
        return False
    operation = attributes.get("gen_ai.operation.name")
    return (
        operation in ("chat", "generate_content")
        or attributes.get("openinference.span.kind") == "LLM"
    )


def _inference(span: ReadableSpan) -> Inference:
    attributes: Any = span.attributes or {}

    def tokens(*names: str) -> int:
        return next((attributes[name] for name in names if name in attributes), 0)

    raised = (event.attributes or {} for event in span.events if event.name == "exception")
    errors = [attributes.get("error.type"), *(each.get("exception.type") for each in raised)]
    return Inference(
        span.instrumentation_scope.name,
        tokens("gen_ai.usage.input_tokens", "llm.token_count.prompt"),
        tokens("gen_ai.usage.output_tokens", "llm.token_count.completion"),
        next(filter(None, errors), None),
    )


SITUATIONS = ("miss", "hit", "failure", "retry", "stream")
_CUES = {"failure": Cue(status=500), "retry": Cue(answer={})}


@dataclass
class Company:
    """A neighbour, or nobody, and a program that plays with it."""

    neighbour: Neighbour | None
    kind: Kind
    provider: SimulatedProvider
    asynchronous: bool = False
    every_client: bool = False
    settings: Settings | None = None
    elsewhere: Providers = field(default_factory=dict[str, Any])
    """Providers that are ours alone."""

    async def play(self, events: str, recording: Recording | None = None) -> dict[str, Told]:
        """What was told in each situation after these events, in this order.

        C the client is made, N the neighbour comes and n it leaves, O we come and o we leave.
        """
        with _restored():
            return await self._play(events, recording or Recording())

    async def _play(self, events: str, recording: Recording) -> dict[str, Told]:
        made = self.neighbour.providers(recording) if self.neighbour else recording.providers
        providers = {name: made[name] for name in recording.providers}
        client: Any = None
        undo: dict[str, Undo] = {}
        try:
            for event in events:
                match event:
                    case "C":
                        client = self._client(providers)
                    case "N":
                        assert self.neighbour is not None
                        undo["n"] = self.neighbour.install(made, getattr(client, "client", None))
                    case "O":
                        undo["o"] = self._come(client, {**providers, **self.elsewhere})
                    case leaving:
                        undo.pop(leaving)()
            return {name: told async for name, told in self._situations(client, recording)}
        finally:
            for leave in undo.values():
                leave()
            if client is not None:
                await close(client)

    def _come(self, client: Any, providers: Providers) -> Undo:
        if self.every_client:
            LLMCacheInstrumentor().instrument(**providers, settings=self.settings)
            return LLMCacheInstrumentor().uninstrument
        instrument(client, **providers, settings=self.settings)
        return lambda: uninstrument(client)

    def _client(self, providers: Providers) -> Any:
        if self.neighbour is not None and self.neighbour.own_spans:
            sdk = anthropic.AsyncAnthropic if self.asynchronous else anthropic.Anthropic
            traced = {"tracer_provider": providers["tracer_provider"]}
            made = sdk(
                base_url=self.provider.url, api_key="k", max_retries=0, open_telemetry=traced
            )
            return instructor.from_anthropic(made)
        mode = {} if self.kind.mode is None else {"mode": self.kind.mode}
        return make(self.kind.maker, self.provider, asynchronous=self.asynchronous, **mode)

    async def _situations(self, client: Any, recording: Recording) -> Any:
        cache = DictCache()
        for situation in SITUATIONS:
            if situation == "stream" and not self.kind.streams:
                continue
            recording.clear()
            if situation in _CUES:
                self.provider.cues.add(_CUES[situation])
            prompt = {"miss": "hit"}.get(situation, situation)
            messages = [{"role": "user", "content": f"Who is {prompt}?"}]
            request = request_for(self.kind.maker, cache=cache, messages=messages)
            if situation == "failure":
                request["max_retries"] = 1
            before = self.provider.ledger.requests
            result = await _result(client, request, stream=situation == "stream")
            asked = self.provider.ledger.requests - before
            durations = recording.sums(DURATION, "error.type")
            yield situation, Told(result, asked, recording.spans(), durations)


_PATCHED = (
    *(openai.OpenAI, openai.AsyncOpenAI),
    *(Completions, AsyncCompletions),
    *(Responses, AsyncResponses),
    *(anthropic.Anthropic, anthropic.AsyncAnthropic),
    *(Messages, AsyncMessages),
)


@contextmanager
def _restored() -> Iterator[None]:
    """With the SDKs as they were: OpenLLMetry's leaves some of its patches where they are."""
    before = {kind: dict(vars(kind)) for kind in _PATCHED}
    try:
        yield
    finally:
        for kind, attributes in before.items():
            for name in {*vars(kind), *attributes}:
                if name not in attributes:
                    delattr(kind, name)
                elif vars(kind)[name] is not attributes[name]:
                    setattr(kind, name, attributes[name])


async def _result(client: Any, request: dict[str, Any], *, stream: bool) -> Any:
    """What a program sees: an answer's content, all that a stream yields, or an exception."""
    method = client.create_partial if stream else client.chat.completions.create
    if not stream and hasattr(client, "create"):
        method = client.create
    try:
        result = method(**request)
        if inspect.isawaitable(result):
            result = await result
        if inspect.isasyncgen(result):
            return [each.model_dump() async for each in result]
        if stream:
            return [each.model_dump() for each in result]
        return result.model_dump()
    except Exception as error:
        return type(error), type(error.__cause__), str(error)


def ancestors(span: ReadableSpan, spans: list[ReadableSpan]) -> Iterator[ReadableSpan]:
    known = {each.context.span_id: each for each in spans}
    while span.parent is not None:
        span = known[span.parent.span_id]
        yield span
