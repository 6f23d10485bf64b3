"""Cache adapters and the stores behind them: what they are, where they keep entries, and for how long."""

from __future__ import annotations

import dis
import inspect
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from llm_cache_otel.observe.instructor_api import AutoCache, BaseCache, DiskCache, auto_cache_size
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.remembered import Remembered
from llm_cache_otel.observe.stores import is_backend


@dataclass(slots=True)
class Traits:
    """What is known of a cache before it is asked, and who watches its size already."""

    cache: Callable[[], Any]
    backend: str
    is_evident: bool
    is_adapter: bool
    is_auto: bool
    is_plain_auto: bool
    size_watched_by: Callable[[], Reporter | None] = lambda: None


_CLIENT_LIBRARIES = {"redis": "redis", "diskcache": "disk"}


def backend_of(cache: object) -> str:
    """`memory`, `disk`, `redis`, or the class name where none of them is evident.

    An adapter of the user's own is known by the client library whose object it holds.
    """
    if isinstance(cache, AutoCache):
        return "memory"
    if isinstance(cache, DiskCache):
        return "disk"
    for kind in type(cache).__mro__:
        library = kind.__module__.split(".")[0]
        if library in _CLIENT_LIBRARIES:
            return _CLIENT_LIBRARIES[library]
    for held in getattr(cache, "__dict__", {}).values():
        library = type(held).__module__.split(".")[0]
        if library in _CLIENT_LIBRARIES and isinstance(cache, BaseCache):
            return _CLIENT_LIBRARIES[library]
    return type(cache).__name__


def entry_size(value: object) -> int | None:
    """Bytes of an entry as the adapter was given it, without copying what is plain ASCII."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, (bytes, bytearray)):
        return len(value)
    return None


def watch_size(reporter: Reporter, cache: Any, traits: Traits, name: str | None) -> None:
    """Have a cache's size observed where the process can tell it at no cost: `AutoCache` only.

    Counting a disk's or a server's entries would be work for others, and the answer not this
    process's own.
    """
    if traits.is_auto:
        reporter.watch_size(cache, auto_cache_size, traits.backend, name)
        traits.size_watched_by = weakref.ref(reporter)


def _traits(cache: Any) -> Traits:
    backend = backend_of(cache)
    return Traits(
        _reference(cache),
        backend,
        backend != type(cache).__name__,
        isinstance(cache, BaseCache),
        isinstance(cache, AutoCache),
        _is_plain(cache, AutoCache),
    )


def _reference(cache: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(cache)
    except TypeError:
        return lambda: None


traits_of = Remembered(_traits, lambda traits: traits.is_evident)
"""Found out once, unless that was too early: an adapter may connect when it is first used."""


def _place(cache: Any) -> Hashable | None:
    if type(cache) is DiskCache:
        cache = cache._cache
    if not is_backend(cache):
        return None
    if backend_of(cache) == "disk":
        return "disk", cache.directory
    pool = getattr(cache, "connection_pool", None)  # a cluster has none
    asked = getattr(pool, "connection_kwargs", None)
    if not asked or not (asked.get("host") or asked.get("path")):  # a sentinel knows where it is
        return None
    return "redis", *(asked.get(name) for name in ("host", "port", "path", "db"))


place_of = Remembered(_place)
"""Where the entries are of stores of which many may be made for one place; `None` of any other cache."""


def full_at(cache: Any) -> int | None:
    """At how many entries a cache is full, if it is; known of an `AutoCache` only."""
    if not _is_plain(cache, AutoCache):
        return None
    held, capacity = auto_cache_size(cache)
    return capacity if held >= capacity else None


def honours_ttl(cache: Any, depth: int = 3) -> bool | None:
    """Whether entries go when their `ttl` has run out; `None` if that can't be told.

    An `AutoCache` ignores it, and so does an adapter of the user's own whose `set` never reads it. One that
    does, and keeps entries in Redis or diskcache, or in another adapter, does as they do.
    """
    if _is_plain(cache, AutoCache):
        return False
    if _is_plain(cache, DiskCache) or is_backend(cache):
        return True
    reads = _reads_ttl(type(cache).set)
    if reads is not True:
        return reads
    if backend_of(cache) in _CLIENT_LIBRARIES.values():
        return True
    inner = [held for held in vars(cache).values() if issubclass(type(held), BaseCache)]
    return honours_ttl(inner[0], depth - 1) if len(inner) == 1 and depth else None


def _is_plain(cache: Any, kind: Any) -> bool:
    """Whether it gets and sets as this class does, under the keys that it is given."""
    mine: Any = type(cache)
    return isinstance(cache, kind) and mine.get is kind.get and mine.set is kind.set


def _reads_ttl(function: Any) -> bool | None:
    """Whether `set(self, key, value, ttl)` does anything with the last of these."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        return None
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    name = "ttl" if "ttl" in names else next(iter(names[3:4]), None)
    if name is None:
        return False
    return any(
        "LOAD" in step.opname
        and (step.argval == name or (isinstance(step.argval, tuple) and name in step.argval))
        for step in dis.get_instructions(code)
    )
