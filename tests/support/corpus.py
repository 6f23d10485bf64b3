"""Requests whose reason to miss is known, for it is told here from all of their text.

What is nearest, gone or never stored is worked out once more, in the plainest way: every earlier request is
kept as it was, and compared part by part.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from pydantic import BaseModel

from support.versions import HAS_NAMESPACES


class Person(BaseModel):
    name: str


class Place(BaseModel):
    street: str
    city: str


class Thing(BaseModel):
    """What can be bought."""

    price: int


SCHEMAS: dict[str, type[BaseModel]] = {"Person": Person, "Place": Place, "Thing": Thing}


@dataclass(frozen=True)
class Asked:
    """A request by its parts; `family` is what it is about, and `moment` what varies of that each time."""

    family: int = 0
    moment: int = 0
    model: str = "gpt-4.1-mini"
    schema: str = "Person"
    mode: str = "TOOLS"
    parameters: tuple[tuple[str, Any], ...] = ()
    context: str | None = None
    namespace: str = "one"
    client: str = "key-1"

    def messages(self) -> list[dict[str, str]]:
        rng = random.Random(self.family)
        words = [f"{rng.choice('bcdfghklmnpr')}{rng.choice('aeiou')}" for _ in range(400)]
        sentences = [
            " ".join("".join(rng.choices(words, k=3)) for _ in range(rng.randrange(4, 9)))
            for _ in range(20)
        ]
        sentences.insert(
            rng.randrange(20), f"It is now {self.moment // 60:02}:{self.moment % 60:02} o'clock"
        )
        return [
            {"role": "system", "content": "Read what you are given, and answer in a few words."},
            {"role": "user", "content": ". ".join(sentences)},
        ]

    def arguments(self) -> dict[str, Any]:
        """For `create` of a client of that mode and key."""
        asked: dict[str, Any] = {
            "model": self.model,
            "messages": self.messages(),
            "response_model": SCHEMAS[self.schema],
            **dict(self.parameters),
        }
        if HAS_NAMESPACES:
            asked |= {"cache_namespace": self.namespace}
            asked |= {} if self.context is None else {"context": {"tenant": self.context}}
        return asked


_CHOICES: dict[str, list[Any]] = {
    "moment": list(range(40)),
    "model": ["gpt-4.1-mini", "gpt-4o", "o3"],
    "schema": list(SCHEMAS),
    "mode": ["TOOLS", "JSON", "MD_JSON"],
    "parameters": [(), (("temperature", 0.5),), (("timeout", 30),), (("user", "u1"), ("seed", 7))],
    "context": [None, "a", "b"],
    "namespace": ["one", "two"],
    "client": ["key-1", "key-2"],
}
KEYED = tuple(_CHOICES) if HAS_NAMESPACES else ("moment", "model", "schema", "mode")
"""What this Instructor's keys are made of, besides the family."""

_REASONS = {
    "model": "model_changed",
    "schema": "schema_changed",
    "mode": "mode_changed",
    "parameters": "parameters_changed",
    "context": "context_changed",
    "namespace": "namespace_changed",
    "client": "client_changed",
}


def requests(rng: random.Random, count: int, families: int) -> Iterator[Asked]:
    """New ones, old ones again, and old ones with one, two or three parts changed."""
    seen: list[Asked] = []
    for _ in range(count):
        if not seen or rng.random() < 0.15:
            asked = Asked(family=rng.randrange(families))
            asked = replace(asked, moment=rng.choice(_CHOICES["moment"]))
        else:
            asked = rng.choice(seen[-60:])
            for part in rng.sample(KEYED, rng.choice([0, 0, 1, 1, 1, 2, 3])):
                asked = replace(asked, **{part: rng.choice(_CHOICES[part])})
        seen.append(asked)
        yield asked


def _changed(earlier: Asked, asked: Asked) -> list[str]:
    """What differs, by name; not so where a parameter is the earlier one's only."""
    named = []
    for part in _REASONS:
        mine, theirs = getattr(asked, part), getattr(earlier, part)
        if mine == theirs:
            continue
        if part != "parameters" or set(dict(theirs)) - set(dict(mine)):
            named.append(part)
            continue
        named += [f"request.{name}" for name, value in mine if dict(theirs).get(name) != value]
    return named


class Oracle:
    """What each request does in an LRU of `room` entries, and why.

    `parts` are what differs from the nearest, for the request that was asked last, if it is more than one.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._entries: OrderedDict[Asked, None] = OrderedDict()
        self._stored: set[Asked] = set()
        self._missed: list[Asked] = []
        self._known: set[Asked] = set()
        self.parts: list[str] = []

    def ask(self, asked: Asked, *, fails: bool = False) -> str:
        """`hit`, or the reason of a miss."""
        self.parts = []
        if asked in self._entries:
            self._entries.move_to_end(asked)
            return "hit"
        reason = self._reason(asked)
        if asked not in self._known:
            self._missed.append(asked)
            self._known.add(asked)
        self._stored.discard(asked)
        if not fails:
            self._entries[asked] = None
            self._stored.add(asked)
            if len(self._entries) > self._room:
                self._entries.popitem(last=False)
        return reason

    def lose(self, rng: random.Random) -> Asked | None:
        """An entry that is gone from now on, though there is room."""
        if not self._entries:
            return None
        lost = rng.choice(list(self._entries))
        del self._entries[lost]
        return lost

    def _reason(self, asked: Asked) -> str:
        if asked in self._stored:
            return "evicted" if len(self._entries) >= self._room else "lost"
        if asked in self._known:
            return "not_stored"
        reason, nearest, parts = "new_prompt", 0, list[str]()
        for earlier in self._missed:
            if earlier.family != asked.family:
                continue
            differing = [
                field.name
                for field in fields(asked)
                if getattr(earlier, field.name) != getattr(asked, field.name)
            ]
            if "moment" not in differing and len(differing) == 1:
                reason, nearest, parts = _REASONS[differing[0]], 3, _changed(earlier, asked)
            elif differing == ["moment"] and nearest < 3:
                reason, nearest, parts = "near_duplicate_prompt", 2, []
            elif "moment" not in differing and nearest < 2:
                reason, nearest, parts = "several_changed", 1, _changed(earlier, asked)
        self.parts = parts if len(parts) > 1 else []
        return reason
