"""What functions are asked with, no two of them the same, and the key of each."""

from __future__ import annotations

import dataclasses
import enum
from collections import OrderedDict, deque
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AnyUrl, BaseModel, Field, PrivateAttr, SecretStr
from pydantic.dataclasses import dataclass as pydantic_dataclass

from llm_cache_otel.caching.keys import Keys


class Colour(enum.Enum):
    RED = "red"


class Tags(enum.Enum):
    ALL = frozenset({"a", "b", "c"})


class Level(enum.IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "always the same"


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Tagged:
    tags: Any
    note: str = dataclasses.field(default="", compare=False, repr=False)


@pydantic_dataclass
class Checked:
    tags: set[str]


class Inner(BaseModel):
    tags: set[str] = {"a", "b", "c", "d", "e"}


class Document(BaseModel):
    text: str = ""
    inner: Inner = Inner()
    tags: frozenset[str] = frozenset()
    hidden: str = Field(default="", exclude=True)
    secret: SecretStr = SecretStr("")
    _noted: str = PrivateAttr(default="")

    @classmethod
    def noting(cls, noted: str) -> Document:
        document = cls()
        document._noted = noted
        return document


class Loose(BaseModel, extra="allow"):
    pass


class Stream(BaseModel):
    """Reads on as it is written."""

    lines: Iterable[str]


NAIVE = datetime(2024, 2, 29)  # noqa: DTZ001  as users have them

CORPUS: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**70, 10**5000 // 10**5000 + 1),
    *("", "a", "1", "None", "\ud800", "ü", Text("a"), Text("b")),
    *(0.0, -0.0, 1.0, 0.1, float("nan"), float("inf"), 1j, Decimal("1.0"), Decimal("1.00")),
    *(b"", b"a", b"\xff", bytearray(b"a"), memoryview(b"a"), Fraction(1, 3), range(3)),
    *([], (), {}, set(), frozenset(), deque(), [None], [[]], ["a"], ("a",), {"a"}, deque("a")),
    *({"a": 1}, {"a": "1"}, {1: "a"}, {"1": "a"}, {1.0: "a"}, {True: "a"}, {None: "a"}),
    *({"1": "a", 1: "b"}, {"1": "b", 1: "a"}, {(1, 2): {"a", "b", "c"}}, OrderedDict(a=1)),
    *({"a", "b", "c", "d"}, frozenset("abcd"), {1, "1"}, [{"a", "b"}], {frozenset("ab"), "ab"}),
    *(NAIVE, NAIVE.replace(fold=1), NAIVE.replace(tzinfo=UTC), time(1)),
    *(NAIVE.replace(tzinfo=ZoneInfo("UTC")), NAIVE + timedelta(microseconds=1), NAIVE.date()),
    *(timedelta(1), UUID(int=1), PurePosixPath("a"), AnyUrl("http://a.example/"), ip_address(1)),
    *(Colour.RED, Tags.ALL, Level.ONE, Colour, Level, Document, Inner, Tagged, int, str),
    *(Point(1, 2), (1, 2), [1, 2], Tagged({"a", "b", "c"}), Tagged([]), Tagged([], note="more")),
    *(Tagged({1: "a"}), Tagged({"1": "a"}), Checked({"a", "b", "c"}), Inner(), Inner(tags={"x"})),
    *(Document(), Document(text="a"), Document(hidden="a"), Document(secret=SecretStr("a"))),
    *(Document.noting("a"), Document(inner=Inner(tags=set())), Document(tags=frozenset("abc"))),
    *(Loose(), Loose(a=1), Loose(a="1"), {"name": "a"}, SecretStr("a"), SecretStr("b")),
]
"""No two of these are the same."""


def function(value: Any, *more: Any, name: str = "Ada", **options: Any) -> Document:
    raise NotImplementedError


KEYS = Keys(function, Document)


def key_of(*args: Any, **kwargs: Any) -> str | None:
    return KEYS.key_of(args, kwargs).text
