"""Cache adapters: what they are, how a `get` or `set` is timed, and observing one by itself."""

from __future__ import annotations

import weakref
from typing import Any

from llm_cache_otel.observe.instructor_api import AutoCache, BaseCache, DiskCache, auto_cache_size
from llm_cache_otel.observe.ports import Reporter

_CLIENT_LIBRARIES = {"redis": "redis", "diskcache": "disk"}


def backend_of(cache: object) -> str:
    """`memory`, `disk`, `redis`, or the class name where none of them is evident.

    An adapter of the user's own is known by the client library whose object it holds.
    """
    if isinstance(cache, AutoCache):
        return "memory"
    if isinstance(cache, DiskCache):
        return "disk"
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


def watch_size(reporter: Reporter, cache: Any, backend: str, name: str | None) -> None:
    """Have a cache's size observed where the process can tell it at no cost: `AutoCache` only.

    Counting a disk's or a server's entries would be work for others, and the answer not this
    process's own.
    """
    if isinstance(cache, AutoCache):
        reporter.watch_size(weakref.ref(cache), auto_cache_size, backend, name)
