"""What happened: frozen dataclasses and closed enums.

This module knows no one. Facts are evidence, free of OpenTelemetry and of Instructor, so that what
they mean (`llm_cache_otel.interpret`) can be tested without either. Times are nanoseconds since the
Unix epoch; within one call they never step back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from enum import Enum, StrEnum
from typing import Any, Protocol


class Scope(Protocol):
    """The place in a trace that an observation opened; opaque to everybody but who made it."""

    def enter(self) -> None:
        """Make it the parent of whatever the host does next in this context."""

    def leave(self) -> None:
        """Undo `enter`. Call it only in the context that `enter` was called in."""


class Outcome(StrEnum):
    """What the response cache did (`llm_cache.outcome`)."""

    HIT = "hit"
    MISS = "miss"
    BYPASS = "bypass"
    ERROR = "error"
    OFF = "off"


class BypassReason(StrEnum):
    """Why a request could never be served from the cache it was given."""

    UNSERIALIZABLE_REQUEST = "unserializable_request"
    NOT_A_CACHE = "not_a_cache"
    STREAMING = "streaming"
    NOT_A_MODEL = "not_a_model"
    NO_RESPONSE_MODEL = "no_response_model"
    PARALLEL_TOOLS = "parallel_tools"


class ErrorReason(StrEnum):
    """How the cache itself failed the call before an answer."""

    BACKEND_UNAVAILABLE = "backend_unavailable"
    ENTRY_INVALID = "entry_invalid"


Reason = BypassReason | ErrorReason


class Unpriced(StrEnum):
    """Why no dollars are shown (`llm_cache.unpriced.reason`)."""

    UNKNOWN_MODEL = "unknown_model"
    NO_USAGE = "no_usage"


class Operation(StrEnum):
    """What a cache backend was asked to do (`llm_cache.operation`)."""

    GET = "get"
    SET = "set"


class CacheGiven(Enum):
    """What stood in `cache=`."""

    NOTHING = "nothing"
    NOT_A_CACHE = "not a cache"
    ADAPTER = "adapter"


class AnswerKind(Enum):
    """What kind of answer the request asks for, as far as it can be cached.

    `UNDECIDED` is a type such as `Model | str`: only an answer can tell.
    """

    MODEL = "model"
    STREAM = "stream"
    NOT_A_MODEL = "not a model"
    NOTHING = "nothing"
    PARALLEL_TOOLS = "parallel tools"
    UNDECIDED = "undecided"


class Inside(Enum):
    """A part of a call that is seen inside the caching library, where it keeps it in a known place."""

    LOOKUP = "lookup"
    ATTEMPTS = "attempts"


class SpanRole(Enum):
    """Which of the contract's four spans an observation is."""

    CREATE = "create"
    LOOKUP = "lookup"
    ATTEMPT = "attempt"
    STORE = "store"


@dataclass(frozen=True, slots=True)
class Interval:
    """From `start_ns` to `end_ns`, nanoseconds since the Unix epoch."""

    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """What one attempt asked of the provider, in the GenAI conventions' terms.

    `settings` holds `gen_ai.request.*` numbers by the last part of their names, e.g. `temperature`.
    """

    operation: str
    provider: str | None
    model: str | None
    server_address: str | None = None
    server_port: int | None = None
    stream: bool = False
    output_type: str | None = None
    settings: Mapping[str, float | int] = field(default_factory=dict[str, "float | int"])


Reported = Mapping[str, Any]
"""A provider's report of its tokens, under its own names: numbers, short words, and what holds these."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, in the GenAI conventions' terms. `None` is what was not reported, which is never zero.

    `input` includes what was read from the provider's prompt cache and written to it, `output` includes
    `reasoning`, `cache_write` includes `cache_write_1h`, and what is of sound is part of the rest.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None
    cache_read_audio: int | None = None

    def counts(self) -> dict[str, int]:
        """What was reported, by the names above."""
        return {
            each.name: count
            for each in fields(self)
            if (count := getattr(self, each.name)) is not None
        }

    def at_most(self) -> Usage:
        """With all written to a prompt cache, and for an hour, of which it is not reported what was."""
        written = self.cache_write
        if written is None and self.input is not None:
            written = self.input - (self.cache_read or 0)
        hour = written if self.cache_write_1h is None else self.cache_write_1h
        return replace(self, cache_write=written, cache_write_1h=hour)

    def __add__(self, other: Usage) -> Usage:
        counts = Counter(self.counts())
        counts.update(other.counts())
        return Usage(**counts)


@dataclass(frozen=True, slots=True)
class InferenceResponse:
    """What a provider's answer says of itself; `None` or empty where it does not.

    `created` is when, in seconds since the Unix epoch; `service_tier` what it was processed as.
    """

    model: str | None = None
    id: str | None = None
    finish_reasons: tuple[str, ...] = ()
    reported: Reported | None = None
    service_tier: str | None = None
    created: float | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another instrumentation that tells the same inference, by what it does that with.

    `tracer` starts its spans, and is `None` where it keeps that elsewhere than is known; `duration` is its
    histogram of `gen_ai.client.operation.duration`, and `None` if it has none.
    """

    tracer: object
    duration: object


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known when an observation begins; samplers decide on no more than this."""

    role: SpanRole
    start_ns: int
    response_model: str | None = None
    request: InferenceRequest | None = None
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """One run of Instructor's key function, and nothing around it.

    `digest` is the salted digest of the key, 16 hex digits; `None` where Instructor could build no
    key, and then `unserializable_part` names what stood in the way, if it was found.
    """

    interval: Interval
    digest: str | None
    unserializable_part: str | None = None


@dataclass(frozen=True, slots=True)
class BackendFacts:
    """One `get` or `set` of a cache adapter.

    `hit` is whether a `get` returned something, `entry_size` is in bytes, `ttl` in seconds. `scope`
    is set where the adapter was observed by itself, outside an observed call.
    """

    operation: Operation
    interval: Interval
    backend: str
    name: str | None
    hit: bool | None = None
    entry_size: int | None = None
    ttl: float | None = None
    error_type: str | None = None
    scope: Scope | None = None


@dataclass(frozen=True, slots=True)
class LookupFacts:
    """Instructor's whole lookup: the key, `get`, and the entry read back into a model.

    `error_type` without an error in `get` means that the stored entry did not validate. `stored` is what the
    entry keeps of the response that it was made from.
    """

    interval: Interval
    hit: bool
    get: BackendFacts | None
    stored: InferenceResponse | None = None
    error_type: str | None = None
    scope: Scope | None = None


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """Instructor's whole store: the model written as JSON, and `set`."""

    interval: Interval
    set: BackendFacts | None
    error_type: str | None = None
    scope: Scope | None = None


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """One try of Instructor's retry loop that called the SDK.

    `parse_error_type` is why Instructor could not use an answer that did arrive.
    """

    interval: Interval
    request: InferenceRequest
    response: InferenceResponse
    error_type: str | None = None
    parse_error_type: str | None = None
    scope: Scope | None = None


@dataclass(frozen=True, slots=True)
class CallFacts:
    """One call of `create`, from its start to its last chunk.

    `unseen` is what could not have been seen of it: then its absence says nothing.
    """

    interval: Interval
    cache: CacheGiven
    answer: AnswerKind
    name: str | None = None
    provider: str | None = None
    model: str | None = None
    mode: str | None = None
    response_model: str | None = None
    schema_digest: str | None = None
    backend: str | None = None
    ttl: float | None = None
    namespace_shared: bool | None = None
    key: KeyFacts | None = None
    lookup: LookupFacts | None = None
    attempts: tuple[AttemptFacts, ...] = ()
    store: StoreFacts | None = None
    error_type: str | None = None
    unseen: frozenset[Inside] = frozenset()
    scope: Scope | None = None


EXACT = Context(
    prec=60,
    rounding=ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[InvalidOperation, DivisionByZero, Overflow],
)
"""For dollars, whatever the host has set for decimals of its own."""

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Cost:
    """USD. `spent + saved - premium` is what it would have cost without the provider's prompt cache.

    `saved` is what reads from it were cheaper than plain input, `premium` what writes to it were dearer;
    either can be negative.
    """

    spent: Decimal
    saved: Decimal = _NOTHING
    premium: Decimal = _NOTHING

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            EXACT.add(self.spent, other.spent),
            EXACT.add(self.saved, other.saved),
            EXACT.add(self.premium, other.premium),
        )

    def apart(self) -> tuple[Decimal, Decimal]:
        """What was saved and what was paid more, neither negative: such a part belongs to the other."""
        saved, premium = self.saved, self.premium
        return (
            EXACT.add(max(saved, _NOTHING), max(EXACT.minus(premium), _NOTHING)),
            EXACT.add(max(premium, _NOTHING), max(EXACT.minus(saved), _NOTHING)),
        )


@dataclass(frozen=True, slots=True)
class Bill:
    """What one or several inferences took, and cost; `None` for what is not known.

    `is_least` where there may have been more.
    """

    usage: Usage | None = None
    cost: Cost | None = None
    unpriced: Unpriced | None = None
    is_least: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a call's facts mean: `None` for what can't be told.

    `saved_duration` is in seconds, `saved` what the call that a hit repeats took, and `bills` what each
    attempt did, `None` for one that failed before there was any answer.
    """

    outcome: Outcome | None
    reason: Reason | None = None
    saved_duration: float | None = None
    saved: Bill | None = None
    bills: tuple[Bill | None, ...] = ()
