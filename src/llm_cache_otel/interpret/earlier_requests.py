"""The requests of a cache that missed: which one a request is nearest to, and what differs.

Salted digests are all that is kept of them, and of more than 1,024, or 3 MB in all, the oldest are
forgotten; sooner where there are many caches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import xor

from llm_cache_otel.facts import Divergence, KeyedRequest, KeyPart, MissReason, Section
from llm_cache_otel.interpret.fingerprint import Fingerprint, Text, digest

_MOST_REQUESTS = 1_024
_FEWEST_REQUESTS = 16
_MOST_BYTES = 3_000_000
_BYTES_OF_REQUEST = 400
_BYTES_OF_PLACE = 150
_AT_EITHER_END = 2
"""Sections by which a request is found that is nearly alike: one at least of them is."""

_CHANGED = {
    KeyPart.MODEL: MissReason.MODEL_CHANGED,
    KeyPart.SCHEMA: MissReason.SCHEMA_CHANGED,
    KeyPart.MODE: MissReason.MODE_CHANGED,
    KeyPart.PARAMETERS: MissReason.PARAMETERS_CHANGED,
    KeyPart.CONTEXT: MissReason.CONTEXT_CHANGED,
    KeyPart.NAMESPACE: MissReason.NAMESPACE_CHANGED,
    KeyPart.CLIENT: MissReason.CLIENT_CHANGED,
}
_MESSAGES = "messages"

Difference = tuple[MissReason, Divergence | None]


@dataclass(slots=True, eq=False)
class _Kept:
    """`places` is where it is found by what it has in common with others."""

    number: int
    sections: tuple[tuple[int, Fingerprint], ...]
    parameters: frozenset[int]
    places: tuple[int, ...]
    kept_bytes: int


class Request:
    """A request that is at hand, made into digests."""

    def __init__(self, request: KeyedRequest) -> None:
        self.request = request
        self.texts = [Text(section.text) for section in request.messages]
        self.rests = [digest(each.part, each.message, each.rest) for each in request.messages]
        self.parameters = {name: digest(name, value) for name, value in request.parameters.items()}
        self.messages = digest(_MESSAGES, *self.rests, *(text.digest for text in self.texts))
        parts = {part: digest(part, value) for part, value in request.parts.items()}
        everything = reduce(xor, parts.values(), self.messages)
        self.same_but = {part: digest(part, everything ^ one) for part, one in parts.items()}
        self._same_but_messages = digest(_MESSAGES, everything ^ self.messages)
        self.clues = tuple(dict.fromkeys(self._clues()))

    def _clues(self) -> Iterator[int]:
        """Where a request is found that has the same of all but the messages, and these nearly so."""
        ends = self.texts
        if len(ends) > 2 * _AT_EITHER_END:
            ends = [*ends[:_AT_EITHER_END], *ends[-_AT_EITHER_END:]]
        for text in ends:
            for clue in text.fingerprint.clues:
                yield digest(self._same_but_messages, len(self.texts), clue)

    def kept(self, number: int) -> _Kept:
        sections = tuple(
            (rest, text.fingerprint) for rest, text in zip(self.rests, self.texts, strict=True)
        )
        places = (self.messages, *self.same_but.values(), *self.clues)
        kept_bytes = _BYTES_OF_REQUEST + _BYTES_OF_PLACE * len(places)
        kept_bytes += sum(fingerprint.kept_bytes for _, fingerprint in sections)
        return _Kept(number, sections, frozenset(self.parameters.values()), places, kept_bytes)

    def divergence(self, earlier: _Kept) -> Divergence | None:
        """Where the messages begin to differ; `None` if they are not nearly the same."""
        found = None
        pairs = zip(self.request.messages, self.rests, self.texts, earlier.sections, strict=True)
        for section, rest, text, (earlier_rest, fingerprint) in pairs:
            if rest != earlier_rest or not text.is_nearly(fingerprint):
                return None
            if found is None and text.digest != fingerprint.digest:
                found = divergence(section, *text.first_difference(fingerprint))
        return found

    def changed_parameters(self, earlier: _Kept) -> list[str]:
        return [name for name, one in self.parameters.items() if one not in earlier.parameters]


def divergence(section: Section, offset: int, block: int) -> Divergence:
    return Divergence(section.part, section.message, section.start + offset, block)


class EarlierRequests:
    """Not thread-safe: whoever holds it has the lock."""

    def __init__(self) -> None:
        self._requests: deque[_Kept] = deque()
        self._places: dict[int, _Kept] = {}
        self._number = 0
        self._bytes = 0

    def compare(self, request: Request) -> Difference:
        """What differs from the nearest of them."""
        nearest = max(
            (
                (kept.number, part, kept)
                for part, place in request.same_but.items()
                if (kept := self._places.get(place)) is not None
            ),
            default=None,
            key=lambda found: found[0],
        )
        if nearest is not None:
            _, part, kept = nearest
            return _CHANGED[part], _changed_parameter(request, part, kept)
        for kept in {id(kept): kept for kept in self._alike(request)}.values():
            found = request.divergence(kept)
            if found is not None:
                return MissReason.NEAR_DUPLICATE_PROMPT, found
        if request.messages in self._places:
            return MissReason.SEVERAL_CHANGED, None
        return MissReason.NEW_PROMPT, None

    def _alike(self, request: Request) -> list[_Kept]:
        found = (self._places.get(place) for place in request.clues)
        return sorted((kept for kept in found if kept is not None), key=lambda kept: -kept.number)

    def add(self, request: Request, share: float = 1.0) -> None:
        """`share` is how much of what is kept of one cache alone may be kept of this one."""
        self._number += 1
        kept = request.kept(self._number)
        self._requests.append(kept)
        self._places.update(dict.fromkeys(kept.places, kept))
        self._bytes += kept.kept_bytes
        most = max(_FEWEST_REQUESTS, int(_MOST_REQUESTS * share))
        while len(self._requests) > most or self._bytes > _MOST_BYTES * share:
            self._forget(self._requests.popleft())

    def _forget(self, kept: _Kept) -> None:
        self._bytes -= kept.kept_bytes
        for place in kept.places:
            if self._places.get(place) is kept:
                del self._places[place]


def _changed_parameter(request: Request, part: KeyPart, kept: _Kept) -> Divergence | None:
    """Which one it is, if it is one, and this request has it."""
    changed = request.changed_parameters(kept) if part is KeyPart.PARAMETERS else []
    return Divergence(f"request.{changed[0]}") if len(changed) == 1 else None
