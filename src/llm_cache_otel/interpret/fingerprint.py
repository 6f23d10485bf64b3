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
from heapq import nsmallest
from weakref import WeakValueDictionary

_SMALLEST_BLOCK = 32
_MOST_BLOCKS = 256
_MOST_PHRASES = 64
_LONGEST_PHRASE = 64
"""Characters on average, from which on words tell more than phrases."""

_MOST_WORDS_OF = 16_384
"""Characters, of whose words digests are made: longer texts without punctuation are like no other."""

_CLUES = 4
_BYTES = 800
"""What a fingerprint takes besides its digests."""

_ALIKE = 0.6
"""Of the phrases that either text has: of ten in each, two may differ."""

_MOST_MASKED = 512
"""Characters, from which on phrases tell as well what a mask would."""

_LEAST_UNMASKED = 16
_LONGEST_NUMBER = 40

_PHRASE_ENDS = str.maketrans(dict.fromkeys(".,;:!?。，；：！？、", "\n"))  # noqa: RUF001  Chinese
_DIGIT = re.compile(r"\d")
_DIGITS = re.compile(r"\d+")

_salt = secrets.randbits(64)
_known: WeakValueDictionary[int, Fingerprint] = WeakValueDictionary()


def digest(*values: Hashable) -> int:
    """64 bits of texts and digests, comparable in this process and those forked from it only."""
    return hash((_salt, *values)) & 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Fingerprint:
    """`blocks` are of `size` characters each, `phrases` the 64 lowest that there are, in order.

    `mask` is the digest of a short text without its numbers and white space, `None` of any other.
    """

    digest: int
    size: int
    blocks: array[int]
    phrases: array[int]
    mask: int | None

    @property
    def clues(self) -> tuple[int, ...]:
        """A few digests, of which a text that is nearly alike most likely has one."""
        few = self.phrases[:_CLUES]
        return tuple(few) if self.mask is None else (*few, self.mask)

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
        phrases = array("Q", nsmallest(_MOST_PHRASES, _phrases(self.text)))
        return Fingerprint(self.digest, size, self.blocks(size), phrases, _mask(self.text))

    def blocks(self, size: int) -> array[int]:
        text = self.text
        return array("Q", (digest(text[at : at + size]) for at in range(0, len(text), size)))

    def is_nearly(self, earlier: Fingerprint) -> bool:
        """Whether they differ in numbers and white space only, or have most of their phrases in common."""
        if self.digest == earlier.digest:
            return True
        mine = self.fingerprint
        if mine.mask is not None and mine.mask == earlier.mask:
            return True
        either = nsmallest(_MOST_PHRASES, {*mine.phrases, *earlier.phrases})
        common = set(mine.phrases).intersection(earlier.phrases)
        return sum(phrase in common for phrase in either) >= _ALIKE * len(either) > 0

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
    phrases: Collection[str] = text.split("\n")
    if len(phrases) < _MOST_PHRASES:
        phrases = text.translate(_PHRASE_ENDS).split("\n")
    if len(phrases) * _LONGEST_PHRASE < len(text):
        phrases = text.split() if len(text) <= _MOST_WORDS_OF else ()
    return {digest(phrase) for phrase in phrases if phrase}


def _mask(text: str) -> int | None:
    if len(text) > _MOST_MASKED:
        return None
    words = [_masked(word) for word in text.split()]
    left = sum(map(len, words))
    if left < _LEAST_UNMASKED or 2 * left < len(text):
        return None
    return digest("mask", *words)


def _masked(word: str) -> str:
    if _DIGIT.search(word) is None:
        return word
    return "0" if len(word) <= _LONGEST_NUMBER else _DIGITS.sub("0", word)
