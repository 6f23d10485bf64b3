"""A model of the providers' prompt caches: what is read and written follows from the requests.

Prefixes are matched exactly. What is not modelled: that a provider may forget earlier, or send a request to a
machine that does not have the prefix.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

CHARACTERS_PER_TOKEN = 4

_MOST_PROMPTS = 256
_MOST_PREFIXES = 65_536
_LOOKS_BACK = 20
"""Blocks before a marker where Anthropic looks for what was written earlier."""

RETENTION = 300.0
TTLS = {"5m": RETENTION, "1h": 3600.0}
"""Seconds that marked prefixes are kept that nobody reads."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a prompt, in the order the provider puts them; `ttl` is that of a marker behind it."""

    text: str
    ttl: str | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """Tokens of a prompt; `total` includes the others."""

    total: int
    read: int = 0
    write_5m: int = 0
    write_1h: int = 0

    @property
    def written(self) -> int:
        return self.write_5m + self.write_1h


@dataclass(slots=True)
class _Kept:
    until: float
    seconds: float


class PromptCache:
    """One provider's. Thread-safe; `clock` is in seconds.

    `retention` is how many of these a prefix is kept that nobody reads, unless a request asks for longer.
    """

    def __init__(self, clock: Callable[[], float], retention: float = RETENTION) -> None:
        self._clock = clock
        self._ttls = {**TTLS, "5m": retention}
        self._lock = threading.Lock()
        self._prompts: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._prefixes: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    def automatic(
        self,
        space: str,
        blocks: Iterable[Block],
        *,
        minimum: int,
        granularity: int = 1,
        seconds: float | None = None,
        writes_cost: bool = False,
    ) -> Input:
        """As OpenAI, Gemini and DeepSeek do, unasked: the longest prefix that an earlier prompt shares.

        `minimum` and `granularity` are tokens, `seconds` how long the request asks to keep a prefix.
        Prompts share nothing beyond their `space`.
        """
        prompt = "".join(block.text for block in blocks)
        total = tokens(len(prompt))
        seconds = self._ttls["5m"] if seconds is None else seconds
        with self._lock:
            alive = [key for key in [*self._prompts] if key[0] == space and self._is_kept(key)]
            shared = {key: _shared(key[1], prompt) // CHARACTERS_PER_TOKEN for key in alive}
            longest = max(shared.values(), default=0)
            read = min(longest, total) // granularity * granularity
            if read < minimum:
                read = 0
            for key in alive:
                if read and shared[key] >= read:
                    self._prompts[key].until = self._clock() + self._prompts[key].seconds
            if total < minimum:
                return Input(total)
            self._prompts[space, prompt] = _Kept(self._clock() + seconds, seconds)
            while len(self._prompts) > _MOST_PROMPTS:
                self._prompts.popitem(last=False)
        return Input(total, read, total - read if writes_cost else 0)

    def _is_kept(self, key: tuple[str, str]) -> bool:
        if self._prompts[key].until >= self._clock():
            return True
        del self._prompts[key]
        return False

    def marked(self, space: str, blocks: Iterable[Block], *, minimum: int) -> Input:
        """As Anthropic and Bedrock do, where they are asked to: prefixes up to a marker."""
        ends = list(_ends(blocks))
        total = ends[-1].tokens if ends else 0
        now = self._clock()
        with self._lock:
            reached = 0
            for number, end in enumerate(ends):
                if end.ttl is None:
                    continue
                for earlier in reversed(ends[max(0, number - _LOOKS_BACK) : number + 1]):
                    kept = self._prefixes.get((space, earlier.digest))
                    if kept is not None and kept.until >= now:
                        kept.until = now + kept.seconds
                        reached = max(reached, earlier.tokens)
                        break
            written = {"5m": 0, "1h": 0}
            position = reached
            for end in ends:
                if end.ttl is None or end.tokens < minimum or end.tokens <= reached:
                    continue
                seconds = self._ttls[end.ttl]
                self._prefixes[space, end.digest] = _Kept(now + seconds, seconds)
                written[end.ttl] += end.tokens - position
                position = end.tokens
            while len(self._prefixes) > _MOST_PREFIXES:
                self._prefixes.popitem(last=False)
        return Input(total, reached, written["5m"], written["1h"])


@dataclass(frozen=True, slots=True)
class _End:
    tokens: int
    digest: str
    ttl: str | None


def _ends(blocks: Iterable[Block]) -> Iterator[_End]:
    digest = hashlib.sha256()
    length = 0
    for block in blocks:
        digest.update(block.text.encode())
        length += len(block.text)
        yield _End(tokens(length), digest.hexdigest(), block.ttl)


def tokens(characters: int) -> int:
    return max(1, characters // CHARACTERS_PER_TOKEN)


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
