"""What is kept of a text to compare others with: salted digests of it, of its blocks, and of its phrases.

Blocks stand at fixed places and tell where two texts begin to differ. Phrases are what punctuation leaves
of a text, wherever it has moved to, and tell whether two texts are nearly alike.
"""

from __future__ import annotations

import re
import secrets
from array import array
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from functools import reduce
from heapq import nsmallest
from itertools import islice
from operator import xor
from weakref import WeakValueDictionary

_SMALLEST_BLOCK = 32
_MOST_BLOCKS = 256
_MOST_PHRASES = 256
_ENOUGH_LINES = 256
"""From which on lines are phrases, and sentences need not be looked for."""

_MOST_UNIFORM = 16_384
"""Characters of a text whose white space is made uniform."""

_ALIKE = 0.8
"""Of the phrases that either text has: of ten in each, one may differ."""

_CLUES = 4
_BYTES = 600
"""What a fingerprint takes besides its digests."""

_MOST_NUMBERS = 512
_LONGEST_VOLATILE = 64
_LONGEST_PREFIX = 24

_PHRASE_ENDS = str.maketrans(dict.fromkeys(".,;:!?。，；：！？、", "\n"))  # noqa: RUF001  Chinese
_SENTENCE_ENDS = str.maketrans(dict.fromkeys(".!?。！？", "\n"))  # noqa: RUF001  Chinese
_NUMBER = re.compile(r"\d\S*")
_TIME = re.compile(r"\d{1,2}:\d")

_BITS = 0xFFFF_FFFF_FFFF_FFFF

_salt = secrets.randbits(64)
_known: WeakValueDictionary[int, Fingerprint] = WeakValueDictionary()


def digest(*values: Hashable) -> int:
    """64 bits of texts and digests, comparable in this process and those forked from it only."""
    return hash((_salt, *values)) & _BITS


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Fingerprint:
    """`blocks` are of `size` characters each, `phrases` the 256 lowest that there are, in order.

    `all_phrases` is a digest of them all, in whatever order. Phrases are without times, ids and white space
    around them.
    """

    digest: int
    size: int
    blocks: array[int]
    phrases: array[int]
    all_phrases: int

    @property
    def clues(self) -> tuple[int, ...]:
        """A few digests, of which a text that is nearly alike most likely has one."""
        return tuple(self.phrases[:_CLUES])

    @property
    def kept_bytes(self) -> int:
        return _BYTES + self.blocks.itemsize * (len(self.blocks) + len(self.phrases))


class Text:
    """A text that is at hand, and is not kept: its `fingerprint` is."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = digest(text)
        self._fingerprint: Fingerprint | None = None

    @property
    def fingerprint(self) -> Fingerprint:
        """Of a text that is known, for as long as somebody keeps it, the same."""
        made = self._fingerprint  # no cached_property: it has a lock, which a fork can leave locked
        if made is None:
            made = _known.get(self.digest)
            if made is None:
                made = _known[self.digest] = self._make_fingerprint()
            self._fingerprint = made
        return made

    def _make_fingerprint(self) -> Fingerprint:
        size = block_size(len(self.text))
        phrases = _phrases(self.text)
        lowest = array("Q", nsmallest(_MOST_PHRASES, phrases))
        return Fingerprint(self.digest, size, self.blocks(size), lowest, reduce(xor, phrases, 0))

    def blocks(self, size: int) -> array[int]:
        text, salt = self.text, _salt  # as `digest` does, of thousands
        return array(
            "Q",
            [hash((salt, text[at : at + size])) & _BITS for at in range(0, len(text), size)],
        )

    def is_nearly(self, earlier: Fingerprint) -> bool:
        """Whether they differ in times, ids, white space and order only, or in few of many phrases."""
        if self.digest == earlier.digest:
            return True
        mine = self.fingerprint.phrases
        either = nsmallest(_MOST_PHRASES, {*mine, *earlier.phrases})
        common = set(mine).intersection(earlier.phrases)
        return sum(phrase in common for phrase in either) >= _ALIKE * len(either) > 0

    def has_phrases_of(self, earlier: Fingerprint) -> bool:
        """Whether they differ in times, ids, white space and order at the most."""
        return self.fingerprint.all_phrases == earlier.all_phrases

    def first_difference(self, earlier: Fingerprint) -> tuple[int, int]:
        """Where the first block starts that the earlier text does not have there, and its length."""
        size = earlier.size
        mine = self.fingerprint.blocks if self.fingerprint.size == size else self.blocks(size)
        same = 0
        for one, other in zip(mine, earlier.blocks, strict=False):
            if one != other:
                break
            same += 1
        start = min(same * size, len(self.text))
        return start, min(size, len(self.text) - start)


def block_size(length: int) -> int:
    """The largest power of two that is no more than a 256th of the text, or 32."""
    return max(_SMALLEST_BLOCK, 1 << max(0, (length // _MOST_BLOCKS).bit_length() - 1))


def _phrases(text: str) -> set[int]:
    text = _without_volatile(text)
    if len(text) <= _MOST_UNIFORM:
        text = "\n".join(" ".join(line.split()) for line in text.split("\n"))
    phrases: Collection[str] = text.split("\n")
    if len(phrases) < _ENOUGH_LINES:
        ends = _PHRASE_ENDS if len(text) <= _MOST_UNIFORM else _SENTENCE_ENDS
        phrases = text.translate(ends).split("\n")
    salt = _salt  # as `digest` does, of thousands
    return {hash((salt, phrase)) & _BITS for each in phrases if (phrase := each.strip())}


def _without_volatile(text: str) -> str:
    """Without words that look like times or ids: with four digits at least, or such as `9:30`.

    As it is where there are so many numbers that it must be data.
    """
    pieces: list[str] = []
    end = 0
    numbers = list(islice(_NUMBER.finditer(text), _MOST_NUMBERS))
    if len(numbers) == _MOST_NUMBERS:
        return text
    for found in numbers:
        word = found.group()
        if len(word) > _LONGEST_VOLATILE:
            continue
        if sum(map(str.isdigit, word)) < 4 and _TIME.match(word) is None:
            continue
        begins = max(end, found.start() - _LONGEST_PREFIX)
        prefix = text[begins : found.start()].split()
        starts_word = not text[begins : found.start()][-1:].isspace()
        start = found.start() - (len(prefix[-1]) if prefix and starts_word else 0)
        pieces.append(text[end:start])
        end = found.end()
    pieces.append(text[end:])
    return "".join(pieces)
