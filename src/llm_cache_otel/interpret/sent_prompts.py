"""The prompts this process has sent lately, as providers see them: by what they begin with.

Salted digests are all that is kept, of the latest 8,192 blocks and a thousand texts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.facts import Divergence, Interval, Section, SentPrompt
from llm_cache_otel.facts.fact import fact
from llm_cache_otel.interpret.earlier_requests import divergence
from llm_cache_otel.interpret.fingerprint import Fingerprint, Text, digest

_MOST_PREFIXES = 8_192
_MOST_TEXTS = 4_096
_MOST_SECTIONS = 512
_BLOCK = 256
_BLOCKS_OF_THIS = 256
_LATER_BLOCK = 4_096
"""Characters: 64 tokens or so, and after the first 65,536 of a text a thousand."""


@fact
class Comparison:
    """A prompt beside the earlier ones. All counts are characters.

    `readable` is what should have been cached of it, unread for `idle` seconds at the most and to be kept
    for `retention`; `shared` is what any earlier one begins with as well; and `moved` what was sent before
    of that which comes behind: `diverges` is where. `asked` is for how long this one is to be kept.
    """

    total: int
    shared: int = 0
    readable: int = 0
    idle: float = 0.0
    retention: float | None = None
    moved: int = 0
    diverges: Divergence | None = None
    asked: float | None = None


@dataclass(slots=True, eq=False, repr=False)
class _Prefix:
    """All up to a block of a text, whose fingerprint this is. Times are nanoseconds since the Unix epoch."""

    first: int
    last: int
    retention: float | None
    is_readable: bool
    text: Fingerprint


@fact
class _SentText:
    """A text that was first answered at a time, and what stood before it the last time."""

    first: int
    text: Fingerprint
    behind: int


@dataclass(slots=True, eq=False, repr=False)
class _Place:
    """Where a block of this prompt ends, and what it begins with up to there."""

    prefix: int
    end: int
    is_readable: bool


@dataclass(slots=True, eq=False, repr=False)
class _Taken:
    """A section of this prompt; its first place is before its text."""

    section: Section
    text: Text
    start: int
    places: list[_Place]


class SentPrompts:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._generation = forks.generation
        self._prefixes: OrderedDict[int, _Prefix] = OrderedDict()
        self._texts: OrderedDict[int, _SentText] = OrderedDict()

    def compare_and_add(
        self, prompt: SentPrompt, during: Interval, retention: float | None, *, is_marked: bool
    ) -> Comparison:
        """A prompt beside those that were answered before it was sent; it is one of them from now on.

        `retention` is how many seconds the provider keeps what it is not told to keep longer; `is_marked`
        where it caches no more than it is told to.
        """
        taken = _taken(prompt, is_marked=is_marked)
        with self._lock:
            if self._generation != forks.generation:  # what a parent has sent, this process has not
                self._prefixes.clear()
                self._texts.clear()
                self._generation = forks.generation
            compared = self._compare(prompt.space, taken, during.start_ns)
            asked = prompt.retention or retention
            self._add(prompt.space, taken, during.end_ns, asked)
        marked = max((section.retention or 0.0 for section in prompt.sections), default=0.0)
        return replace(compared, asked=marked or asked)

    def _compare(self, space: int, taken: list[_Taken], sent: int) -> Comparison:
        found: list[tuple[_Place, _Prefix]] = []
        for number, one in enumerate(taken):
            for place in one.places:
                known = self._prefixes.get(place.prefix)
                if known is None or known.first > sent:
                    is_inside = found and place is not one.places[0]
                    instead = found[-1][1].text if is_inside else None
                    compared = _in_common(taken, found, sent)
                    return self._diverging(space, taken[number:], instead, compared, sent)
                found.append((place, known))
        return _in_common(taken, found, sent)

    def _diverging(
        self,
        space: int,
        rest: list[_Taken],
        instead: Fingerprint | None,
        compared: Comparison,
        sent: int,
    ) -> Comparison:
        """What differs in the first of the `rest`; `instead` is the text that it begins like, if it does."""
        one = rest[0]
        known = self._known(space, one.text, sent)
        is_known = known is not None and known.text.digest == one.text.digest
        if known is not None and is_known and known.behind == one.places[0].prefix:
            # It was sent just so: what it begins with is forgotten here, and nothing has changed.
            return compared
        earlier = instead or (None if known is None else known.text)
        where = Divergence(one.section.part, one.section.message)
        offset = 0
        if not is_known or instead is not None:  # or what differs is around it, or stood elsewhere
            offset, block = 0, min(one.text.fingerprint.size, len(one.text.text))
            if earlier is not None:
                offset, block = one.text.first_difference(earlier)
            where = divergence(one.section, offset, block)
        candidates = (instead, None if known is None else known.text)
        moved = 0
        if any(each is not None and one.text.is_nearly(each) for each in candidates):
            moved = len(one.text.text) - offset
        for later in rest[1:]:
            other = self._known(space, later.text, sent)
            if other is not None and later.text.is_nearly(other.text):
                moved += len(later.text.text)
        shared = compared.shared if instead is None else max(compared.shared, one.start + offset)
        return replace(compared, shared=shared, moved=moved, diverges=where)

    def _known(self, space: int, text: Text, sent: int) -> _SentText | None:
        """A text that was answered before and is this one, or has a clue in common with it."""
        for clue in (text.digest, *text.fingerprint.clues):
            known = self._texts.get(digest(space, clue))
            if known is not None and known.first <= sent:
                return known
        return None

    def _add(self, space: int, taken: list[_Taken], answered: int, retention: float | None) -> None:
        for one in taken:
            text = one.text.fingerprint
            for clue in (text.digest, *text.clues):
                place = digest(space, clue)
                known = self._texts.get(place)
                first = answered
                if known is not None and known.text.digest == text.digest:
                    first = known.first
                sent = _SentText(first, text, one.places[0].prefix)
                _put(self._texts, place, sent, _MOST_TEXTS)
            for end in one.places:
                prefix = self._prefixes.get(end.prefix)
                if prefix is None:
                    prefix = _Prefix(answered, answered, retention, end.is_readable, text)
                prefix.last, prefix.text = max(prefix.last, answered), text
                prefix.is_readable |= end.is_readable
                prefix.retention = one.section.retention or retention
                _put(self._prefixes, end.prefix, prefix, _MOST_PREFIXES)


def _put(kept: OrderedDict[int, Any], key: int, value: object, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)


def _in_common(taken: list[_Taken], found: list[tuple[_Place, _Prefix]], sent: int) -> Comparison:
    total = taken[-1].places[-1].end if taken else 0
    shared = found[-1][0].end if found else 0
    for place, known in reversed(found):
        if known.is_readable:
            idle = max(0, sent - known.last) / 1e9
            return Comparison(total, shared, place.end, idle, known.retention)
    return Comparison(total, shared)


def _taken(prompt: SentPrompt, *, is_marked: bool) -> list[_Taken]:
    """All of it, each section in blocks that begin at the same places whatever its length."""
    taken: list[_Taken] = []
    prefix, end = digest(prompt.space), 0
    for section in prompt.sections[:_MOST_SECTIONS]:
        text = Text(section.text)
        _ = text.fingerprint  # now, and not while others wait
        start = end
        prefix = digest(prefix, section.part, section.rest)
        places = [_Place(prefix, end, is_readable=False)]
        at = 0
        while at < len(text.text):
            size = _BLOCK if at < _BLOCK * _BLOCKS_OF_THIS else _LATER_BLOCK
            block = text.text[at : at + size]
            at += len(block)
            prefix = digest(prefix, block)
            places.append(_Place(prefix, start + at, is_readable=not is_marked))
        end = start + at
        if section.retention is not None:
            places[-1].is_readable = True
        taken.append(_Taken(section, text, start, places))
    return taken


sent_prompts = SentPrompts()
