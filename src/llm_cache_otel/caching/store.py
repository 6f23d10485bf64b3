"""One way to get and set entries, whatever holds them."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from llm_cache_otel.observe import adapter, stores
from llm_cache_otel.observe.call import Watch
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
        self._cache = cache
        self._methods = methods
        self.backend = adapter.backend_of(cache)
        self._lifetime = {} if ttl is None else _lifetime(methods, ttl)

    def get(self, key: str, watch: Watch | None) -> Any:
        method, observed = self._methods["get"], self._observed(watch)
        return operate(observed, method, self._cache.get, self._cache, (key,), {})

    def set(self, key: str, entry: str, watch: Watch | None) -> Any:
        method, observed = self._methods["set"], self._observed(watch)
        lifetime = dict(self._lifetime)
        return operate(observed, method, self._cache.set, self._cache, (key, entry), lifetime)

    def _observed(self, watch: Watch | None) -> ObservedStore | None:
        if watch is None:
            return None
        reference = weakref.ref(self._cache)
        return ObservedStore(reference, watch.reporter, self.backend, watch.name, self.is_async)


def _lifetime(methods: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """As `set` takes it."""
    if methods is stores.ADAPTER:
        return {"ttl": seconds}
    if methods is stores.REDIS:
        return {"px": max(1, round(seconds * 1000))}
    return {"expire": seconds}
