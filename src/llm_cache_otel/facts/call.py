"""One call from its beginning to its end, and what it means."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import field
from enum import Enum, StrEnum
from typing import Any, Protocol

from llm_cache_otel.facts.fact import fact
from llm_cache_otel.facts.miss import Diagnosis, History, Miss
from llm_cache_otel.facts.origin import Origin
from llm_cache_otel.facts.prompt import PromptFinding, SentPrompt
from llm_cache_otel.facts.reasons import Outcome, Reason, Unpriced
from llm_cache_otel.facts.tokens import Bill, Cost, Reported, Usage


class Scope(Protocol):
    """The place in a trace that an observation opened; opaque to everybody but who made it."""

    def enter(self) -> None:
        """Make it the parent of whatever the host does next in this context."""

    def leave(self) -> None:
        """Undo `enter`. Call it only in the context that `enter` was called in."""


class Operation(StrEnum):
    """What a cache backend was asked to do (`llm_cache.operation`)."""

    GET = "get"
    SET = "set"


class CacheGiven(Enum):
    """What stood in `cache=`; or whether a function asked a cache, which is an `ADAPTER`."""

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


@fact
class Interval:
    """From `start_ns` to `end_ns`, nanoseconds since the Unix epoch."""

    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


@fact
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


@fact
class InferenceResponse:
    """What a provider's answer says of itself; `None` or empty where it does not.

    `created` is when, in seconds since the Unix epoch; `service_tier` what it was processed as;
    `cache_miss` the provider's own word for what differs from an earlier prompt.
    """

    model: str | None = None
    id: str | None = None
    finish_reasons: tuple[str, ...] = ()
    reported: Reported | None = None
    service_tier: str | None = None
    created: float | None = None
    cache_miss: str | None = None


@fact
class Neighbour:
    """Another instrumentation that tells the same inference, by what it does that with.

    `tracer` starts its spans, and is `None` where it keeps that elsewhere than is known; `duration` is its
    histogram of `gen_ai.client.operation.duration`, and `None` if it has none.
    """

    tracer: object
    duration: object


@fact
class Opening:
    """What is known when an observation begins; samplers decide on no more than this.

    `function` is the name of one that is observed itself.
    """

    role: SpanRole
    start_ns: int
    response_model: str | None = None
    function: str | None = None
    request: InferenceRequest | None = None


OpeningParts = tuple[Any, ...]
"""What an `Opening` is made of, when somebody asks for it."""


@fact
class KeyFacts:
    """One run of Instructor's key function, and nothing around it.

    `key` is what it made, which is never said, but a salted digest of it; `None` where Instructor could build
    no key, and then `unserializable_part` names what stood in the way, if it was found.
    """

    interval: Interval
    key: str | None = field(repr=False)
    unserializable_part: str | None = None


@fact
class BackendFacts:
    """One `get` or `set` of a cache adapter.

    `hit` is whether a `get` found something, `entry_size` in bytes, `ttl` in seconds; `interrupted` is said
    of errors from outside. `scope` is set where no observed call asked, `asked_ns` before any observing.
    """

    operation: Operation
    interval: Interval
    backend: str
    name: str | None
    hit: bool | None = None
    entry_size: int | None = None
    ttl: float | None = None
    error_type: str | None = None
    interrupted: bool = False
    asked_ns: int | None = None
    scope: Scope | None = None


@fact
class LookupFacts:
    """Instructor's whole lookup: the key, `get`, and the entry read back into a model.

    `error_type` without an error in `get`: the entry did not validate, unless it was `interrupted` from
    outside. `stored` is what the entry keeps of the response that it was made from.
    """

    interval: Interval
    hit: bool
    get: BackendFacts | None
    stored: InferenceResponse | None = None
    error_type: str | None = None
    interrupted: bool = False
    scope: Scope | None = None


@fact
class StoreFacts:
    """Instructor's whole store: the model written as JSON, and `set`."""

    interval: Interval
    set: BackendFacts | None
    error_type: str | None = None
    scope: Scope | None = None


@fact
class AttemptFacts:
    """One try of Instructor's retry loop that called the SDK.

    `parse_error_type` is why Instructor could not use an answer that did arrive.
    """

    interval: Interval
    request: InferenceRequest
    response: InferenceResponse
    error_type: str | None = None
    parse_error_type: str | None = None
    prompt: SentPrompt | None = None
    scope: Scope | None = None


@fact
class CallFacts:
    """One call of `create`, from its start to its last chunk; or of a `function` that is observed itself.

    `cache_id` tells the cache from others of this process, where it is not one of many that come and go.
    `history` is the cache's, which has it make up the `diagnosis` of a miss. `unseen` is what could not
    have been seen of it: then its absence says nothing. `origin` is what the answer of a function took, of a
    hit the one that it repeats; `entry` tells the entry that it found or stored from others under its key.
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
    cache_id: Hashable | None = None
    ttl: float | None = None
    history: History | None = field(default=None, repr=False)
    namespace_shared: bool | None = None
    key: KeyFacts | None = None
    lookup: LookupFacts | None = None
    diagnosis: Diagnosis | None = None
    attempts: tuple[AttemptFacts, ...] = ()
    store: StoreFacts | None = None
    error_type: str | None = None
    unseen: frozenset[Inside] = frozenset()
    function: str | None = None
    origin: Origin | None = None
    entry: Hashable = None
    scope: Scope | None = None

    @property
    def miss(self) -> Miss | None:
        """Why it missed, as far as that has been found out."""
        return None if self.diagnosis is None else self.diagnosis.miss


@fact
class Spared:
    """What several hits of a function's cache spared, of one provider and model, as far as it is known.

    `seconds` is what the storing calls took minus what their hits took.
    """

    provider: str | None
    model: str | None
    count: int = 0
    durations: tuple[float, ...] = ()
    seconds: float = 0.0
    cost: Cost | None = None
    usage: Usage | None = None
    unpriced: Mapping[Unpriced, int] = field(default_factory=dict["Unpriced", int])


@fact
class Verdict:
    """What a call's facts mean: `None` for what can't be told.

    `key_digest` is the salted digest of its key, 16 hex digits. `saved_duration` is in seconds, `saved` what
    the call that a hit repeats took. `bills` is what each attempt did and `prompts` what the provider's
    prompt cache did for it, `None` for one that failed before there was any answer.
    """

    outcome: Outcome | None
    reason: Reason | None = None
    key_digest: str | None = None
    saved_duration: float | None = None
    saved: Bill | None = None
    bills: tuple[Bill | None, ...] = ()
    prompts: tuple[PromptFinding | None, ...] = ()
