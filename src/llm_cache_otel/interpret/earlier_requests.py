"""The requests of a cache that missed: which one a request is nearest to, and what differs.

Salted digests are all that is kept of them, and of more than 1,024, or 6 MB in all, the oldest are
forgotten; sooner where there are many caches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import xor

from llm_cache_otel.facts import Divergence, KeyedRequest, KeyPart, Miss, MissReason, Section
from llm_cache_otel.interpret.fingerprint import Fingerprint, Text, digest

_MOST_REQUESTS = 1_024
_FEWEST_REQUESTS = 16
_MOST_BYTES = 6_000_000
_BYTES_OF_REQUEST = 900
_BYTES_OF_PLACE = 150
_BYTES_OF_PARAMETER = 130
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


@dataclass(slots=True, eq=False, repr=False)
class _Kept:
    """`places` is where it is found by what it has in common with others.

    `parts` and `parameters` are digests by part, and by digests of names.
    """

    number: int
    sections: tuple[tuple[int, Fingerprint], ...]
    parts: dict[KeyPart, int]
    parameters: dict[int, int]
    places: tuple[int, ...]
    kept_bytes: int


class Request:
    """A request that is at hand, made into digests."""

    def __init__(self, request: KeyedRequest) -> None:
        self.request = request
        self.texts = [Text(section.text) for section in request.messages]
        self.rests = [
            digest(each.part, each.message, each.rest, each.retention) for each in request.messages
        ]
        self.names = {digest(name): name for name in request.parameters}
        self.parameters = {
            name: digest(request.parameters[written]) for name, written in self.names.items()
        }
        self.messages = digest(_MESSAGES, *self.rests, *(text.digest for text in self.texts))
        self.parts = {part: digest(part, value) for part, value in request.parts.items()}
        everything = reduce(xor, self.parts.values(), self.messages)
        self.same_but = {part: digest(part, everything ^ one) for part, one in self.parts.items()}
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
        kept_bytes += _BYTES_OF_PARAMETER * len(self.parameters)
        return _Kept(number, sections, self.parts, self.parameters, places, kept_bytes)

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

    def differs_in_volatile(self, earlier: _Kept) -> bool:
        """Whether each text has the phrases of the earlier one, and no others."""
        pairs = zip(self.texts, earlier.sections, strict=True)
        return all(text.has_phrases_of(fingerprint) for text, (_, fingerprint) in pairs)

    def changed_parts(self, earlier: _Kept) -> tuple[str, ...]:
        return tuple(
            name
            for part, value in self.parts.items()
            if earlier.parts.get(part) != value
            for name in self._changed(part, earlier)
        )

    def _changed(self, part: KeyPart, earlier: _Kept) -> tuple[str, ...]:
        """Parameters by name, but for where one is the earlier request's only, whose name is not known."""
        if part is not KeyPart.PARAMETERS:
            return (part.value,)
        mine, theirs = self.parameters, earlier.parameters
        changed = [f"request.{self.names[name]}" for name in mine if theirs.get(name) != mine[name]]
        return (part.value,) if theirs.keys() - mine.keys() or not changed else tuple(changed)


def divergence(section: Section, offset: int, block: int) -> Divergence:
    return Divergence(section.part, section.message, section.start + offset, block)


class EarlierRequests:
    """Not thread-safe: whoever holds it has the lock."""

    def __init__(self) -> None:
        self._requests: deque[_Kept] = deque()
        self._places: dict[int, _Kept] = {}
        self._number = 0
        self._bytes = 0

    def compare(self, request: Request) -> Miss | None:
        """What differs from the nearest of them; `None` if it is nothing that a request is told by."""
        found = [
            (kept.number, part, kept)
            for part, place in request.same_but.items()
            if (kept := self._places.get(place)) is not None
        ]
        if found:
            if any(kept.parts == request.parts for _, _, kept in found):
                return None
            _, part, kept = max(found, key=lambda each: each[0])
            parts = request.changed_parts(kept)
            is_one_parameter = len(parts) == 1 and parts[0] != part.value
            where = Divergence(parts[0]) if is_one_parameter else None
            return Miss(_CHANGED[part], where, parts=parts)
        for kept in {id(kept): kept for kept in self._alike(request)}.values():
            where = request.divergence(kept)
            if where is not None:
                is_volatile = request.differs_in_volatile(kept)
                return Miss(MissReason.NEAR_DUPLICATE_PROMPT, where, is_volatile=is_volatile)
        same_messages = self._places.get(request.messages)
        if same_messages is not None:
            parts = request.changed_parts(same_messages)
            return Miss(MissReason.SEVERAL_CHANGED, parts=parts)
        return Miss(MissReason.NEW_PROMPT)

    def _alike(self, request: Request) -> list[_Kept]:
        found = (self._places.get(place) for place in request.clues)
        return sorted((kept for kept in found if kept is not None), key=lambda kept: -kept.number)

    def add(self, request: Request, share: float = 1.0) -> None:
        """`share` is how much of what is kept of one cache alone may be kept of this one."""
        self._number += 1
        kept = request.kept(self._number)
        if kept.kept_bytes > _MOST_BYTES * share / 4:
            return  # or all others would be forgotten for it
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
