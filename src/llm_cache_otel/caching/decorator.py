"""`@instructor_cache(cache)`: the decorator that Instructor's users copy, done right."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

from llm_cache_otel.arguments import check_name
from llm_cache_otel.instrument import observe_decorated

if TYPE_CHECKING:
    from pydantic import BaseModel

    from llm_cache_otel.caching.store import Store

F = TypeVar("F", bound=Callable[..., Any])

_LONGEST = 3_155_760_000
"""A hundred years, in seconds."""

_CACHES = (
    "a diskcache.Cache, a redis.Redis (for async functions also a redis.asyncio.Redis), or a cache adapter "
    "derived from instructor.cache.BaseCache"
)


def instructor_cache(
    cache: Any = None, ttl: float | timedelta | None = None, *, name: str | None = None
) -> Callable[[F], F]:
    """Cache what a function returns, a Pydantic model that an LLM was asked for; and observe it.

    ```python
    @instructor_cache(diskcache.Cache("answers"), ttl=3600)
    def extract(text: str) -> User:
        return client.create(model="gpt-4.1-mini", messages=[...], response_model=User)
    ```

    Plain functions and `async def`. The key is made of the function's qualified name, its arguments, and the
    JSON schema of the model that it is declared to return; not of its code, nor of what that finds around
    it, so of the LLM's name only if that is an argument. Beside the answer an entry has what it took, by the
    observed clients that the function asks (`instrument(client)`), so that a hit tells what it spares,
    whichever process stored it.

    A call is never lost to the cache: if the cache can't be reached, or an entry can't be read, the function
    runs, and the log says why, once. So it does where an argument can't be part of a key; of a method,
    `self` is an argument like others. Stored is what is an instance of the model, and read as the same again:
    the model's validators run when an entry is written, and when it is read.

    Args:
        cache: a `diskcache.Cache`, a `redis.Redis`, or an adapter (`instructor.cache.BaseCache`), which
            several functions can share. An async function should have a `redis.asyncio.Redis`: while
            any other is asked, the event loop waits.
        ttl: seconds, or a `timedelta`, after which an entry is no longer to be found. `AutoCache` ignores it.
        name: a label of your own for `llm_cache.name`.

    Raises:
        TypeError: the cache is none of these; or, when a function is decorated, it is no function, or is not
            declared to return a Pydantic model. The message says what is wrong, and the mend.
        ValueError: `ttl` is not a positive number, `name` is empty, or the model has no JSON schema.
    """
    if cache is None or inspect.isroutine(cache):
        raise TypeError(
            "@instructor_cache needs the cache to use: @instructor_cache(cache), where cache is "
            + _CACHES
        )
    ttl = _checked_ttl(ttl)
    check_name("instructor_cache", name)
    # Only now: Instructor is costly to import, and only who has cached functions need pay for it here.
    from llm_cache_otel.caching.cached_function import CachedFunction
    from llm_cache_otel.caching.entries import Entries
    from llm_cache_otel.caching.keys import Keys
    from llm_cache_otel.caching.store import Store

    try:
        store = Store(cache, ttl)
    except TypeError:
        raise TypeError(
            f"instructor_cache(cache=...) must be {_CACHES}, not {_kind(cache)}"
        ) from None
    if inspect.iscoroutinefunction(cache.get) and not store.is_async:
        raise TypeError(
            f"instructor_cache(cache=...) was given {_kind(cache)}, whose get is async: that of "
            "instructor.cache.BaseCache is not, and Instructor does not await it either"
        )

    def decorate(function: F) -> F:
        model = _checked_model(function, store)
        try:
            keys = Keys(function, model)
        except Exception as error:
            raise ValueError(
                f"{function.__qualname__}() can't be cached: {model.__name__}.model_json_schema() raises "
                f"{type(error).__name__}"
            ) from error
        cached = CachedFunction(function, keys, Entries(model), store)
        observed: F = observe_decorated(cached.wrapper(), name)
        return observed

    return decorate


def _kind(cache: object) -> str:
    if isinstance(cache, type):
        return f"the class {cache.__name__}"
    return f"{type(cache).__module__}.{type(cache).__qualname__}".removeprefix("builtins.")


def _checked_ttl(ttl: object) -> float | None:
    if isinstance(ttl, timedelta):
        ttl = ttl.total_seconds()
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not 0 < ttl <= _LONGEST:
        raise ValueError(
            "instructor_cache(ttl=...) must be a positive number of seconds, for example 3600, and no more "
            f"than {_LONGEST:,}; leave it out for entries that stay"
        )
    return ttl


def _checked_model(function: Any, store: Store) -> type[BaseModel]:
    from pydantic import BaseModel

    from llm_cache_otel.observe.response_model import display_name, return_annotation

    if not inspect.isfunction(function):
        raise TypeError(
            f"@instructor_cache(...) was put on {_kind(function)}; it goes on a function, below what else "
            "there is, such as @staticmethod, @classmethod, @property and @functools.cache"
        )
    name = function.__qualname__
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name}() is a generator function, whose answers can't be cached")
    if store.is_async and not inspect.iscoroutinefunction(function):
        raise TypeError(
            f"{name}() is not async, and a redis.asyncio.Redis can only be asked by an async function: give "
            "it a redis.Redis, or write async def"
        )
    try:
        model: Any = return_annotation(function)
    except Exception as error:
        raise TypeError(
            f"the return annotation of {name}() can't be resolved ({error}): define the model at module "
            "level, before the function"
        ) from None
    if not isinstance(model, type) or model is BaseModel or not issubclass(model, BaseModel):
        wanted = "has no return annotation"
        if "return" in inspect.unwrap(function).__annotations__:
            kind = "None" if model in (None, NoneType) else display_name(model)
            wanted = f"is declared to return {kind}"
        raise TypeError(
            f"{name}() {wanted}, and what can be cached is a Pydantic model of its own: annotate it, such as "
            f"def {function.__name__}(...) -> User, with several answers as fields of one model"
        )
    return model
