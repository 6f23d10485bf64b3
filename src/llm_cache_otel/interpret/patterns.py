"""What several calls together tell of a cause that keeps caches from being of use, and what would mend it.

Only names and counts stand in it: a model's, a parameter's, how many tokens. Never a value of the host's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator

from llm_cache_otel import forks
from llm_cache_otel.facts import (
    Bill,
    CallFacts,
    Divergence,
    KeyPart,
    Miss,
    MissReason,
    Outcome,
    PromptFinding,
    PromptOutcome,
    PromptReason,
    Verdict,
)
from llm_cache_otel.interpret.advice import Advice

_PERSISTENT = ("disk", "redis")
_BESIDE_THE_POINT = (
    *("request.timeout", "request.user", "request.metadata", "request.safety_identifier"),
    *("request.extra_headers", "request.extra_query", "request.prompt_cache_key"),
)
"""Parameters that change no answer, and every key."""

_UNITS = {"arguments": "argument"}
_OFTEN = 3
_MANY = 10
_UNREAD = 5
_KEPT = 300.0
_MOVABLE = ("system", "messages")
_ONE_OF = 8
_JUST_BELOW = 0.75
_MOST_CAUSES = 1_000

_Cause = tuple[Hashable, ...]


class Patterns:
    """Counts what has to come more than once before it says anything. Thread-safe."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._counts: Counter[_Cause] = Counter()
        self._unread: dict[_Cause, tuple[int, int]] = {}

    def advice_for(self, call: CallFacts, verdict: Verdict) -> Iterator[Advice]:
        """The advice that a call gives rise to after those before it; the same may come again."""
        if call.attempts or (call.function is not None and verdict.outcome is Outcome.MISS):
            with self._lock:
                self._count((call.name, call.backend))
        if call.function is not None:
            yield from self._of_function(call, call.function, verdict)
        if verdict.outcome is Outcome.MISS:
            yield from _of_setup(call)
            if call.miss is not None:
                yield from self._of_miss(call, call.miss)
        if not verdict.prompts:
            return
        told = zip(call.attempts, verdict.prompts, verdict.bills, strict=True)
        for attempt, found, bill in told:
            if found is not None:
                yield from self._of_prompt(call, found, bill, attempt.interval.start_ns)

    def _of_function(self, call: CallFacts, function: str, verdict: Verdict) -> Iterator[Advice]:
        cause = "asks a store", function, call.name
        if verdict.outcome is not Outcome.OFF:
            with self._lock:
                self._count(cause)  # it asks one at times
        elif call.error_type is None and cause not in self._counts:
            yield _no_store(function)
        origin = call.origin
        is_unknown = origin is not None and origin.is_whole and not origin.is_observed
        if verdict.outcome is Outcome.MISS and call.error_type is None and is_unknown:
            yield _no_client(function)

    def _of_miss(self, call: CallFacts, miss: Miss) -> Iterator[Advice]:
        where = miss.divergence
        match miss.reason:
            case MissReason.PARAMETERS_CHANGED:
                is_idle = all(name.startswith(_BESIDE_THE_POINT) for name in miss.parts)
                if is_idle and call.function is None and self._is_often(call, *miss.parts):
                    yield _parameters(call, miss.parts)
            case MissReason.NEAR_DUPLICATE_PROMPT if where is not None and miss.is_volatile:
                if self._is_often(call, miss.reason, call.model, where.part, where.message):
                    yield _near_duplicates(call, where)
            case MissReason.EVICTED if miss.evictions >= max(_MANY, miss.room_needed):
                yield _too_small(call, miss)
            case _:
                pass

    def _of_prompt(
        self, call: CallFacts, found: PromptFinding, bill: Bill | None, sent: int
    ) -> Iterator[Advice]:
        tokens = bill.usage.input if bill is not None and bill.usage is not None else None
        where = found.divergence
        match found.outcome, found.reason:
            case _, PromptReason.PREFIX_CHANGED if where is not None and where.part in _MOVABLE:
                if self._is_often(call, found.reason, call.model, where.part, where.message):
                    yield _first_part_varies(call, where)
            case _, PromptReason.BELOW_MINIMUM if found.minimum is not None and tokens is not None:
                is_just_below = tokens >= _JUST_BELOW * found.minimum
                if is_just_below and self._is_often(call, found.reason, call.model):
                    yield _just_below(call, tokens, found.minimum)
            case _:
                pass
        if found.outcome in (PromptOutcome.READ, PromptOutcome.WRITE):
            yield from self._of_write(call, found, sent)

    def _of_write(self, call: CallFacts, found: PromptFinding, sent: int) -> Iterator[Advice]:
        """Several in a row, of which the first is not even kept any more, and none was read."""
        cause = (call.name, call.model)
        with self._lock:
            if found.outcome is PromptOutcome.READ:
                self._unread.pop(cause, None)
                return
            if cause not in self._unread and len(self._unread) >= _MOST_CAUSES:
                return
            since, writes = self._unread.get(cause, (sent, 0))
            self._unread[cause] = since, writes + 1
        if writes + 1 >= _UNREAD and (sent - since) / 1e9 > (found.kept or _KEPT):
            yield _never_read(call)

    def _is_often(self, call: CallFacts, *cause: Hashable, often: int = _OFTEN) -> bool:
        """Whether it has come so many times, and in one call of eight."""
        with self._lock:
            count = self._count((call.name, call.backend, *cause))
            return count >= often and count * _ONE_OF >= self._counts[call.name, call.backend]

    def _count(self, cause: _Cause) -> int:
        if len(self._counts) < _MOST_CAUSES or cause in self._counts:
            self._counts[cause] += 1
        return self._counts[cause]


def _of_setup(call: CallFacts) -> Iterator[Advice]:
    """What the very first miss tells."""
    if call.namespace_shared is False:
        cause = ("namespace", call.backend, _which(call))
        if call.backend in _PERSISTENT:
            yield Advice(
                cause,
                f"No other process and no other client can hit what this {_cache(call)} holds: without a "
                "cache_namespace, Instructor gives each client one of its own. Give clients that may share "
                'entries the same, for example cache_namespace="my-app".',
            )
        elif call.miss is not None and KeyPart.NAMESPACE.value in call.miss.parts:
            yield Advice(
                cause,
                f"Clients that share this {_cache(call)} can't hit each other's entries: without a "
                "cache_namespace, Instructor gives each client one of its own. Give them the same, for "
                'example cache_namespace="my-app".',
            )
    if call.ttl is None or call.history is None:
        return
    if call.history.honours_ttl is False:
        yield Advice(
            ("ttl", call.name, call.backend),
            f"{'ttl' if call.function else 'cache_ttl'} does nothing: this {_cache(call)} ignores it. "
            "Use a DiskCache, or an adapter that passes ttl on to its backend.",
        )


def _parameters(call: CallFacts, names: tuple[str, ...]) -> Advice:
    differ = "differs" if len(names) == 1 else "differ"
    return Advice(
        ("parameters", call.name, *names),
        f"Requests miss the {_cache(call)} only because {' and '.join(names)} {differ} each time, and "
        "Instructor's cache keys are made of all parameters. Leave out of the request what no answer needs; "
        "a timeout can be set on the provider's client, and headers such as traceparent by an "
        "instrumentation of the HTTP client.",
    )


def _near_duplicates(call: CallFacts, where: Divergence) -> Advice:
    return Advice(
        (MissReason.NEAR_DUPLICATE_PROMPT, call.name, call.model, where.part, where.message),
        f"Requests miss the {_cache(call)} because {_place(where)} differs a little from an earlier one each "
        "time: by a time, an id, white space or order. Leave out what does not matter to the answer.",
    )


def _no_store(function: str) -> Advice:
    return Advice(
        ("no store", function),
        f"{function}() asked no store that is observed, so that nothing is known of its cache. Hand the "
        "store that keeps its answers (diskcache.Cache, redis.Redis) to llm_cache_otel.instrument() too; or "
        "put @instrument above the decorator that caches, if it stands below.",
    )


def _no_client(function: str) -> Advice:
    return Advice(
        ("no client", function),
        f"What hits of {function}() save is not known: when it ran, it asked no client that is observed, in "
        "its own thread or with its context. Hand its client to llm_cache_otel.instrument() too.",
    )


def _too_small(call: CallFacts, miss: Miss) -> Advice:
    cache, mend = f"The {_cache(call)}", "AutoCache"
    if call.function is not None:
        cache, mend = f"The cache of {call.function}()", "functools.lru_cache"
    return Advice(
        (MissReason.EVICTED, call.backend, _which(call), call.function, miss.capacity),
        f"{cache} of {miss.capacity:,} entries is too small: it had dropped some that were "
        f"asked for again. {mend}(maxsize={miss.room_needed}) would have held them.",
    )


def _first_part_varies(call: CallFacts, where: Divergence) -> Advice:
    return Advice(
        (PromptReason.PREFIX_CHANGED, call.name, call.model, where.part, where.message),
        f"Prompts for {call.model} begin differently each time, in {_place(where)}, so that the provider's "
        "prompt cache can't serve what follows, though it was sent before. Put what changes, such as a time "
        "or retrieved documents, behind what does not.",
    )


def _just_below(call: CallFacts, tokens: int, minimum: int) -> Advice:
    return Advice(
        (PromptReason.BELOW_MINIMUM, call.name, call.model),
        f"Prompts for {call.model} are just too short for the provider's prompt cache: {tokens:,} tokens, "
        f"and it begins at {minimum:,}. A system prompt that says more, with examples, may cost less.",
    )


def _never_read(call: CallFacts) -> Advice:
    return Advice(
        (PromptOutcome.WRITE, call.name, call.model),
        f"Prompts for {call.model} are written to the provider's prompt cache, which costs more than plain "
        "input, and this process never reads them. Mark only what later prompts begin with as well, or "
        "nothing.",
    )


def _which(call: CallFacts) -> Hashable:
    """The cache, whatever its clients are called; or what they are, where a cache is not told from others."""
    return call.name if call.cache_id is None else call.cache_id


def _cache(call: CallFacts) -> str:
    kind = f"{call.backend} cache" if call.backend else "cache"
    return f"{kind} {call.name!r}" if call.name else kind


def _place(where: Divergence) -> str:
    if where.message is not None:
        place = f"{_UNITS.get(where.part, 'message')} {where.message}"
    else:
        place = {"system": "the system prompt", "schema": "the schema"}.get(where.part, where.part)
    return place if where.offset is None else f"{place} (around character {where.offset:,})"
