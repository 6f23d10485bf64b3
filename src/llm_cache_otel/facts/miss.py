"""What a cache key is made of, and what is found of it when there is a miss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from llm_cache_otel.facts.fact import fact
from llm_cache_otel.facts.reasons import MissReason


class KeyPart(StrEnum):
    """What Instructor makes a key of, but for the messages."""

    MODEL = "model"
    SCHEMA = "schema"
    MODE = "mode"
    PARAMETERS = "parameters"
    CONTEXT = "context"
    NAMESPACE = "namespace"
    CLIENT = "client"


@fact
class Section:
    """A tool, a system prompt, or a part of a message: its text, and whatever else it has, as JSON.

    `part` is `tools`, `system` or `messages`. Of these `message` counts from 0, and `start` is where the text
    begins in that of the whole message. `retention` is how many seconds the provider is asked to keep all
    up to here, 0 for as long as it does by itself, `None` where it is not asked.
    """

    part: str
    text: str = field(repr=False)
    rest: str = field(default="", repr=False)
    message: int | None = None
    start: int = 0
    retention: float | None = None


@fact
class KeyedRequest:
    """A request by the parts of its key. Readable: it is made into digests before long, and not kept.

    `parts` are JSON, `None` for what this Instructor's keys do not have; `parameters` is JSON by name, that
    of a header `extra_headers.x-user`.
    """

    messages: tuple[Section, ...] = field(repr=False)
    parts: Mapping[KeyPart, str | None] = field(repr=False)
    parameters: Mapping[str, str] = field(repr=False)

    @property
    def length(self) -> int:
        """In characters: what a message has beside its text may be an image."""
        texts = sum([len(section.text) + len(section.rest) for section in self.messages])
        parts = sum(map(len, filter(None, self.parts.values())))
        return texts + parts + sum(map(len, self.parameters.values()))

    def read(self) -> KeyedRequest | None:
        return self


class AskedFor(Protocol):
    """A request, perhaps as copies that are still to be read. `length` is how much of it is held."""

    @property
    def length(self) -> int: ...

    def read(self) -> KeyedRequest | None:
        """`None` if it can't be read."""
        ...


@fact
class Divergence:
    """Where a text begins to differ from an earlier one, never what it holds there.

    `part` is `tools`, `system`, `messages` or a parameter such as `request.timeout`; `message` counts from 0;
    `offset` is where the first block starts that differs, `block` its length, both in characters.
    """

    part: str
    message: int | None = None
    offset: int | None = None
    block: int | None = None


@fact
class Miss:
    """Why a lookup found nothing. `parts` are what differs, such as `model` or `request.timeout`.

    `is_volatile` where prompts differ in times, ids, white space and order only.

    Of an LRU: `evictions` is how many such misses there were of it, `capacity` how many entries it holds, and
    `room_needed` how many it would have had to, to have held all of those.
    """

    reason: MissReason
    divergence: Divergence | None = None
    parts: tuple[str, ...] = ()
    is_volatile: bool = False
    evictions: int = 0
    capacity: int | None = None
    room_needed: int = 0


@dataclass(slots=True, eq=False, repr=False)
class Diagnosis:
    """Of one lookup that found nothing, why: to be found out off its path. `None` where nothing tells."""

    miss: Miss | None = None
    is_made: bool = False


class History(Protocol):
    """What a cache was asked for and given, as far as it is known by now."""

    @property
    def honours_ttl(self) -> bool | None:
        """Whether it heeds a `ttl`; `None` if that can't be told."""
        ...

    def make(self, diagnosis: Diagnosis) -> None:
        """Find out why that lookup has missed."""
        ...

    def relieve(self) -> None:
        """Called as a call ends, by who may wait a little: not too much may be left for later."""
        ...
