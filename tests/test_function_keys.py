"""What `instructor_cache` makes keys of: the same for what is the same, and for nothing else."""

from __future__ import annotations

import copy
import itertools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, create_model
from support import key_corpus
from support.key_corpus import CORPUS, KEYS, Colour, Document, Stream, Tagged, key_of
from support.models import City, User

from llm_cache_otel.caching.keys import Keys


def test_what_differs_has_another_key() -> None:
    keys = Counter(key_of(value) for value in CORPUS)
    assert None not in keys
    twice = [value for value in CORPUS if keys[key_of(value)] > 1]
    assert twice == []


def test_in_every_process_keys_are_the_same() -> None:
    """Sets have another order in each."""
    program = Path(key_corpus.__file__)
    found = [
        subprocess.run(
            [
                sys.executable,
                "-c",
                "from support.key_corpus import *\nfor v in CORPUS: print(key_of(v))",
            ],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(program.parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in (1, 2, 3)
    ]
    assert len(found[0]) == len(CORPUS)
    assert found == [[key_of(value) for value in CORPUS]] * 3


LEAVES = st.sampled_from(
    [None, True, 0, 1, "", "0", "1", 0.0, 1.0, b"1", Decimal(1), Colour.RED, float("nan")]
)
HASHABLE = st.recursive(LEAVES, lambda each: st.lists(each, max_size=2).map(tuple), max_leaves=3)
VALUES = st.recursive(
    HASHABLE | st.frozensets(HASHABLE, max_size=2) | st.sets(HASHABLE, max_size=2),
    lambda each: (
        st.lists(each, max_size=2)
        | st.dictionaries(HASHABLE, each, max_size=2)
        | each.map(Tagged)
        | each.map(lambda value: Document(tags={str(value)}))
    ),
    max_leaves=4,
)


def same(one: Any, other: Any) -> bool:
    """As `==`, but that types count, and that what is not a number is equal to itself."""
    if type(one) is not type(other):
        return False
    match one:
        case float():
            return repr(one) == repr(other)
        case list() | tuple():
            found = len(one) == len(other) and all(map(same, one, other))
        case set() | frozenset():
            found = len(one) == len(other) and all(any(same(a, b) for b in other) for a in one)
        case dict():
            found = same({*map(Pair, one.items())}, {*map(Pair, other.items())})
        case Pair():
            found = same(one.pair, other.pair)
        case Tagged():
            found = same(one.tags, other.tags)
        case _:
            found = one == other
    return bool(found)


class Pair:
    """Of a dict, whose values may not be hashable."""

    def __init__(self, pair: tuple[Any, Any]) -> None:
        self.pair = pair


@given(VALUES, VALUES)
def test_keys_are_the_same_where_values_are(one: Any, other: Any) -> None:
    assert (key_of(one) == key_of(other)) == same(one, other)


@given(VALUES)
def test_a_copy_has_the_same_key_and_nothing_is_changed(value: Any) -> None:
    before = copy.deepcopy(value)
    assert key_of(value) == key_of(before)
    assert same(value, before)
    if isinstance(value, dict):
        assert key_of(dict(reversed(value.items()))) == key_of(value)


def test_however_an_argument_is_given() -> None:
    assert len({key_of(1), key_of(value=1), key_of(1, name="Ada")}) == 1
    assert key_of(1, a=1, b=2) == key_of(1, b=2, a=1)
    ways = [key_of(1), key_of(1, name="Alan"), key_of(1, 2), key_of(1, (2,)), key_of(1, 2, 3)]
    ways += [key_of(1, two=2), key_of(1, two=2, name="Alan"), key_of(1, options={"two": 2})]
    ways += [key_of((1, 2)), key_of(1, more=2), key_of({"value": 1})]
    assert len(set(ways)) == len(ways)


class Odd:
    """JSON can't hold it, and nobody knows what tells it from others."""


class OddText(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError


class Broken(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError


def numbers() -> Iterator[int]:
    yield from range(3)


def around() -> list[Any]:
    itself: list[Any] = []
    itself.append(itself)
    return itself


async def coroutine() -> None: ...


@pytest.mark.parametrize(
    "value",
    [
        Odd(),
        [Odd()],
        {"a": Odd()},
        Tagged(Odd()),
        len,
        lambda: 0,
        Broken(),
        around(),
        10**5000,
        Ellipsis,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_can_not_be_told_from_others_has_no_key(value: Any) -> None:
    key = KEYS.key_of((1,), {"two": 2, "three": value})
    assert (key.text, key.unwritable) == (None, "options")
    assert KEYS.key_of((value,), {}).unwritable == "value"
    assert key_of(OddText("a")) is not None


@pytest.mark.parametrize(
    "around", [lambda it: it, lambda it: [it], Tagged, lambda it: Stream(lines=it)]
)
def test_what_is_read_once_is_left_to_the_function(around: Any) -> None:
    lines = (str(number) for number in range(3))
    value = around(lines)
    assert KEYS.key_of((value,), {}).unwritable == "value"
    if isinstance(value, Stream):
        lines = value.lines
    assert len([*lines]) == 3
    halfway = iter([1, 2, 3])
    next(halfway)
    assert KEYS.key_of((map(str, halfway),), {}).text is None
    assert [*halfway] == [2, 3]


def test_what_the_function_does_not_take_has_none() -> None:
    def takes_one(name: str) -> User:
        raise NotImplementedError

    keys = Keys(takes_one, User)
    for args, kwargs in (((), {}), ((1, 2), {}), ((), {"age": 1}), ((1,), {"name": 1})):
        key = keys.key_of(args, kwargs)
        assert (key.text, key.unwritable) == (None, None)


def test_functions_and_models_have_keys_of_their_own() -> None:
    def function(name: str) -> Any:
        raise NotImplementedError

    def other(name: str) -> Any:
        raise NotImplementedError

    described: Any = create_model("User", __doc__="A person.", name=(str, ...), age=(int, ...))
    renamed: Any = create_model("Person", name=(str, ...), age=(int, ...))
    older: Any = create_model("User", name=(str, ...), age=(float, ...))
    models: list[type[BaseModel]] = [User, City, described, renamed, older]
    keys = [
        Keys(*each).key_of(("Ada",), {}).text
        for each in itertools.product((function, other), models)
    ]
    assert len(set(keys)) == len(keys)
    again: Any = create_model("User", name=(str, ...), age=(int, ...))
    assert Keys(function, again).key_of(("Ada",), {}).text == keys[0]


def test_arguments_that_are_classes() -> None:
    """By what an LLM would be told of them."""
    changed: Any = create_model("Inner", __module__=key_corpus.__name__, tags=(list[str], ...))
    assert key_of(changed) != key_of(key_corpus.Inner)
    assert key_of(Odd) == key_of(Odd) != key_of(Broken)

    class Local:
        """Of which there may be another one."""

    assert KEYS.key_of((Local,), {}).unwritable == "value"


def test_a_key_says_nothing_of_what_it_is_made_of() -> None:
    key = key_of("a secret")
    assert key is not None
    prefix, digest = key.split(":")
    assert (prefix, len(digest), set(digest) <= set("0123456789abcdef")) == (
        "instructor_cache",
        64,
        True,
    )
