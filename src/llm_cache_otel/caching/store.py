"""One way to get and set entries, whatever holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_cache_otel.observe import stores
from llm_cache_otel.observe.store_methods import ObservedStore, operate


class Store:
    """A `diskcache.Cache`, a `redis.Redis`, sync or async, or an adapter. What it raises is raised here too.

    Where `is_async`, what `get` and `set` return is to be awaited.
    """

    def __init__(self, cache: Any, ttl: float | None) -> None:
        """
        Raises:
            TypeError: it is none of these.
        """
        methods = stores.methods_of(cache)
        if methods is None:
            raise TypeError(type(cache).__name__)
        self.is_async = stores.is_async(cache)
        self.cache = cache
        self._methods = methods
        self._lifetime = {} if ttl is None else _lifetime(methods, ttl)

    def get(self, key: str, observed: ObservedStore | None) -> Any:
        get = self.cache.get
        return operate(observed, self._methods["get"], get, self.cache, (key,), {})

    def set(self, key: str, entry: str, observed: ObservedStore | None) -> Any:
        lifetime = dict(self._lifetime)
        set_ = self.cache.set
        return operate(observed, self._methods["set"], set_, self.cache, (key, entry), lifetime)


def _lifetime(methods: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """As `set` takes it."""
    if methods is stores.ADAPTER:  # which is declared to take whole seconds
        return {"ttl": int(seconds) if seconds == int(seconds) else seconds}
    if methods is stores.REDIS:
        return {"px": max(1, round(seconds * 1000))}
    return {"expire": seconds}
