"""What of functions and stores `instrument` refuses, with the mend."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import diskcache
import pytest
import redis
from support.functions import requests
from support.recording import Recording

from llm_cache_otel import instrument, uninstrument


class Shop:
    @functools.lru_cache(maxsize=8)  # noqa: B019
    def cached(self, text: str) -> str:
        return text

    def plain(self, text: str) -> str:
        return text

    @staticmethod
    def static() -> None: ...

    @classmethod
    def of_class(cls) -> None: ...


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


REFUSED: dict[str, tuple[Any, str]] = {
    "a class": (Shop, "the class Shop"),
    "a bound method": (Shop().cached, "in its class, above @functools.cache"),
    "a static method": (vars(Shop)["static"], "@staticmethod above @instrument"),
    "a class method": (vars(Shop)["of_class"], "@classmethod above @instrument"),
    "a generator": (generator, "makes a generator"),
    "an async generator": (async_generator, "makes a generator"),
    "a partial": (functools.partial(print), "before it is changed by functools.partial"),
    "a builtin": (len, "builtin_function_or_method"),
    "a pipeline": (redis.Redis().pipeline(), "hand in the redis.Redis"),
    "a number": (3, "int"),
}


@pytest.mark.parametrize("door", [instrument, uninstrument])
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_function_and_no_store_is_refused_with_the_mend(what: str, door: Any) -> None:
    target, says = REFUSED[what]
    with pytest.raises(TypeError) as refused:
        door(target)
    message = str(refused.value)
    assert says in message
    assert f"{door.__name__}() was given" in message
    for accepted in ("functools.cache", "diskcache.Cache", "redis.Redis"):
        assert accepted in message


def test_an_index_of_diskcache_is_refused_with_the_mend(tmp_path: Path) -> None:
    index = diskcache.Index(str(tmp_path))
    with pytest.raises(TypeError, match="its attribute cache"):
        instrument(index)
    assert instrument(index.cache) is index.cache
    uninstrument(index.cache)
    index.cache.close()


def test_a_method_of_one_object(recording: Recording) -> None:
    observed = instrument(Shop().plain, **recording.providers)
    assert observed("x") == "x"
    assert requests(recording, backend=None) == {"off": 1}  # type: ignore[arg-type]


def test_a_method_of_a_class_that_is_observed_is_observed_already(recording: Recording) -> None:
    class Observed:
        @functools.partial(instrument, **recording.providers)
        @functools.cache  # noqa: B019
        def answer(self, text: str) -> str:
            return text

    one = Observed()
    method = one.answer
    assert instrument(method) is method
    assert (one.answer("x"), method("x")) == ("x", "x")
    assert requests(recording) == {"miss": 1, "hit": 1}
    uninstrument(method)
    one.answer("y")
    assert requests(recording) == {}


def test_a_function_that_has_no_signature(recording: Recording) -> None:
    observed = instrument(functools.lru_cache(maxsize=4)(max), **recording.providers)
    assert [observed(1, 2), observed(1, 2)] == [2, 2]
    assert requests(recording) == {"miss": 1, "hit": 1}


def test_it_is_a_decorator_that_can_be_told_more(recording: Recording) -> None:
    @instrument(name="squares", **recording.providers)
    @functools.cache
    def square(number: int) -> int:
        return number * number

    assert [square(3), square(3)] == [9, 9]
    assert recording.sums("llm_cache.requests", "llm_cache.name") == {"squares": 2}
    with pytest.raises(ValueError, match="must not be empty"):
        instrument(name=" ")
