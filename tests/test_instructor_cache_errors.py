"""What `instructor_cache` says to whoever uses it wrongly: what is wrong, and the mend."""

from __future__ import annotations

import functools
import importlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from instructor.cache import AutoCache, BaseCache
from pydantic import BaseModel, ConfigDict
from support.models import DictCache, DuckCache, User

from llm_cache_otel import instructor_cache

CACHE = AutoCache()
CACHES = (
    "a diskcache.Cache, a redis.Redis (for async functions also a redis.asyncio.Redis), or a cache adapter "
    "derived from instructor.cache.BaseCache"
)


class AsyncCache(BaseCache):
    async def get(self, key: str) -> Any: ...

    async def set(self, key: str, value: Any, ttl: int | None = None) -> None: ...


def answer() -> User:
    raise NotImplementedError


WRONG_CACHES: dict[str, tuple[Any, str]] = {
    "no parentheses": (
        answer,
        f"@instructor_cache needs the cache to use: @instructor_cache(cache), where cache is {CACHES}",
    ),
    "None": (
        None,
        (
            "@instructor_cache needs the cache to use: @instructor_cache(cache), where cache is "
            f"{CACHES}"
        ),
    ),
    "a dict": ({}, f"instructor_cache(cache=...) must be {CACHES}, not dict"),
    "a path": (".cache", f"instructor_cache(cache=...) must be {CACHES}, not str"),
    "a class": (
        AutoCache,
        f"instructor_cache(cache=...) must be {CACHES}, not the class AutoCache",
    ),
    "what looks like one": (
        DuckCache(),
        f"instructor_cache(cache=...) must be {CACHES}, not support.models.DuckCache",
    ),
    "a pipeline": (
        redis.Redis().pipeline(),
        f"instructor_cache(cache=...) must be {CACHES}, not redis.client.Pipeline",
    ),
    "an async adapter": (
        AsyncCache(),
        (
            f"instructor_cache(cache=...) was given {__name__}.AsyncCache, whose get is async: that of "
            "instructor.cache.BaseCache is not, and Instructor does not await it either"
        ),
    ),
}


@pytest.mark.parametrize("name", WRONG_CACHES)
def test_what_is_no_cache(name: str) -> None:
    cache, message = WRONG_CACHES[name]
    with pytest.raises(TypeError) as raised:
        instructor_cache(cache)
    assert str(raised.value) == message


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), True, "60", [60], 1e300])
def test_what_is_no_time_to_live(ttl: Any) -> None:
    with pytest.raises(ValueError) as raised:
        instructor_cache(CACHE, ttl)
    assert str(raised.value) == (
        "instructor_cache(ttl=...) must be a positive number of seconds, for example 3600, and no more than "
        "3,155,760,000; leave it out for entries that stay"
    )


def test_what_is_no_name() -> None:
    with pytest.raises(
        TypeError, match=r"^instructor_cache\(name=...\) must be a string, not int$"
    ):
        instructor_cache(CACHE, name=7)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"^instructor_cache\(name=...\) must not be empty; leave it"
    ):
        instructor_cache(CACHE, name=" ")


def plain(text: str):  # type: ignore[no-untyped-def]
    ...


def nothing(text: str) -> None: ...


def text(text: str) -> str: ...  # type: ignore[empty-body]


def several(text: str) -> list[User]: ...  # type: ignore[empty-body]


def maybe(text: str) -> User | None: ...


def any_model(text: str) -> BaseModel: ...  # type: ignore[empty-body]


def anything(text: str) -> Any: ...


WRONG_ANNOTATIONS = {
    plain: "has no return annotation",
    nothing: "is declared to return None",
    text: "is declared to return str",
    several: "is declared to return list[User]",
    maybe: "is declared to return User | None",
    any_model: "is declared to return BaseModel",
    anything: "is declared to return Any",
}


@pytest.mark.parametrize("function", WRONG_ANNOTATIONS)
def test_what_is_not_declared_to_return_a_model(function: Any) -> None:
    with pytest.raises(TypeError) as raised:
        instructor_cache(CACHE)(function)
    name = function.__name__
    assert str(raised.value) == (
        f"{name}() {WRONG_ANNOTATIONS[function]}, and what can be cached is a Pydantic model of its own: "
        f"annotate it, such as def {name}(...) -> User, with several answers as fields of one model"
    )


def test_what_is_declared_to_return_what_is_not_there() -> None:
    def extract(text: str) -> Missing: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError) as raised:
        instructor_cache(CACHE)(extract)
    assert str(raised.value) == (
        f"the return annotation of {extract.__qualname__}() can't be resolved (name 'Missing' is not "
        "defined): define the model at module level, before the function"
    )


class Odd:
    pass


class NoSchema(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    odd: Odd


def test_a_model_without_a_schema() -> None:
    def extract(text: str) -> NoSchema: ...  # type: ignore[empty-body]

    with pytest.raises(ValueError) as raised:
        instructor_cache(CACHE)(extract)
    assert str(raised.value) == (
        f"{extract.__qualname__}() can't be cached: NoSchema.model_json_schema() raises "
        "PydanticInvalidForJsonSchema"
    )


def generator(text: str) -> Iterator[User]:
    yield User(name=text, age=1)


async def async_generator(text: str) -> AsyncIterator[User]:
    yield User(name=text, age=1)


@pytest.mark.parametrize("function", [generator, async_generator])
def test_generator_functions(function: Any) -> None:
    with pytest.raises(TypeError) as raised:
        instructor_cache(CACHE)(function)
    assert str(raised.value) == (
        f"{function.__name__}() is a generator function, whose answers can't be cached"
    )


class Callable:
    def __call__(self, text: str) -> User: ...  # type: ignore[empty-body]


NO_FUNCTIONS: dict[str, tuple[Any, str]] = {
    "a class": (User, "the class User"),
    "a staticmethod": (staticmethod(answer), "staticmethod"),
    "a classmethod": (classmethod(answer), "classmethod"),  # type: ignore[arg-type]
    "a property": (property(answer), "property"),
    "functools.cache": (functools.cache(answer), "functools._lru_cache_wrapper"),
    "a partial": (functools.partial(answer), "functools.partial"),
    "an object": (Callable(), f"{__name__}.Callable"),
    "nothing": (None, "NoneType"),
}


@pytest.mark.parametrize("name", NO_FUNCTIONS)
def test_what_is_no_function(name: str) -> None:
    target, kind = NO_FUNCTIONS[name]
    with pytest.raises(TypeError) as raised:
        instructor_cache(CACHE)(target)
    assert str(raised.value) == (
        f"@instructor_cache(...) was put on {kind}; it goes on a function, below what else there is, such as "
        "@staticmethod, @classmethod, @property and @functools.cache"
    )


def test_an_async_redis_for_a_function_that_is_not() -> None:
    def extract(text: str) -> User: ...  # type: ignore[empty-body]

    with pytest.raises(TypeError) as raised:
        instructor_cache(redis.asyncio.Redis())(extract)
    assert str(raised.value) == (
        f"{extract.__qualname__}() is not async, and a redis.asyncio.Redis can only be asked by an async "
        "function: give it a redis.Redis, or write async def"
    )


def test_decorating_goes_on_where_observing_can_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    door = importlib.import_module("llm_cache_otel.observe.functions").FunctionDoor
    monkeypatch.setattr(door, "open_decorated", lambda *_: 1 / 0)
    asked: list[str] = []

    @instructor_cache(DictCache())
    def extract(text: str) -> User:
        asked.append(text)
        return User(name=text, age=1)

    assert extract("Ada") == extract("Ada")
    assert asked == ["Ada"]
    (record,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert "the program goes on unobserved" in record.getMessage()
