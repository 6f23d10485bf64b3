"""What can be observed as a store of entries, and by which methods each kind is asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from llm_cache_otel.facts import Operation
from llm_cache_otel.facts.fact import fact
from llm_cache_otel.observe.instructor_api import BaseCache

Args = tuple[Any, ...]
Kwargs = Mapping[str, Any]


@fact
class Asked:
    """What a store is asked: to get what is under `key`, or to set it to `value` for `ttl` seconds.

    `absent` is what it answers where nothing is, `in_tuple` whether that comes with more in a tuple, and
    `or_raises` whether it raises `KeyError` instead.
    """

    key: Any
    value: Any = None
    ttl: float | None = None
    absent: Any = None
    in_tuple: bool = False
    or_raises: bool = False

    def entry_of(self, answer: Any) -> Any:
        return answer[0] if self.in_tuple and isinstance(answer, tuple) and answer else answer


@dataclass(frozen=True, slots=True)
class Method:
    operation: Operation
    asked: Callable[[Args, Kwargs], Asked]


def _given(args: Args, kwargs: Kwargs, position: int, name: str, default: Any = None) -> Any:
    return args[position] if len(args) > position else kwargs.get(name, default)


def _seconds(value: Any, *, each: float = 1) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value * each if is_number else None


def _adapter_set(args: Args, kwargs: Kwargs) -> Asked:
    ttl = _seconds(_given(args, kwargs, 2, "ttl"))
    return Asked(_given(args, kwargs, 0, "key"), _given(args, kwargs, 1, "value"), ttl)


def _disk_get(args: Args, kwargs: Kwargs) -> Asked:
    return Asked(
        _given(args, kwargs, 0, "key"),
        absent=_given(args, kwargs, 1, "default"),
        in_tuple=bool(_given(args, kwargs, 3, "expire_time") or _given(args, kwargs, 4, "tag")),
    )


def _disk_set(args: Args, kwargs: Kwargs) -> Asked:
    ttl = _seconds(_given(args, kwargs, 2, "expire"))
    return Asked(_given(args, kwargs, 0, "key"), _given(args, kwargs, 1, "value"), ttl)


def _redis_get(args: Args, kwargs: Kwargs) -> Asked:
    return Asked(_given(args, kwargs, 0, "name"))


def _redis_set(args: Args, kwargs: Kwargs) -> Asked:
    ttl = _seconds(_given(args, kwargs, 2, "ex"))
    if ttl is None:
        ttl = _seconds(_given(args, kwargs, 3, "px"), each=1e-3)
    return Asked(_given(args, kwargs, 0, "name"), _given(args, kwargs, 1, "value"), ttl)


def _redis_setex(args: Args, kwargs: Kwargs) -> Asked:
    ttl = _seconds(_given(args, kwargs, 1, "time"))
    return Asked(_given(args, kwargs, 0, "name"), _given(args, kwargs, 2, "value"), ttl)


def _redis_psetex(args: Args, kwargs: Kwargs) -> Asked:
    ttl = _seconds(_given(args, kwargs, 1, "time_ms"), each=1e-3)
    return Asked(_given(args, kwargs, 0, "name"), _given(args, kwargs, 2, "value"), ttl)


ADAPTER: Mapping[str, Method] = {
    "get": Method(Operation.GET, lambda args, kwargs: Asked(_given(args, kwargs, 0, "key"))),
    "set": Method(Operation.SET, _adapter_set),
}
"""`instructor.cache.BaseCache`: https://python.useinstructor.com/concepts/caching/"""

_DISK = {
    "get": Method(Operation.GET, _disk_get),
    "set": Method(Operation.SET, _disk_set),
    "__contains__": Method(Operation.GET, lambda args, kwargs: Asked(args[0], absent=False)),
}
"""https://grantjenks.com/docs/diskcache/api.html; its `[]` calls these."""

_FANOUT = {
    **_DISK,
    "__getitem__": Method(Operation.GET, lambda args, kwargs: Asked(args[0], or_raises=True)),
    "__setitem__": Method(Operation.SET, lambda args, kwargs: Asked(*args[:2])),
}
"""Its `[]` asks its shards."""

REDIS = {
    "get": Method(Operation.GET, _redis_get),
    "getex": Method(Operation.GET, _redis_get),
    "set": Method(Operation.SET, _redis_set),
    "setex": Method(Operation.SET, _redis_setex),
    "psetex": Method(Operation.SET, _redis_psetex),
    "__contains__": Method(Operation.GET, lambda args, kwargs: Asked(args[0], absent=0)),
}
"""https://redis.readthedocs.io/en/stable/commands.html, sync and async; its `[]` calls these."""

_STORES: Mapping[tuple[str, str], Mapping[str, Method]] = {
    ("diskcache", "Cache"): _DISK,
    ("diskcache", "FanoutCache"): _FANOUT,
    ("redis", "Redis"): REDIS,
    ("redis", "RedisCluster"): REDIS,
}
_PIPELINES = frozenset({"Pipeline", "ClusterPipeline"})
"""Which are clients too, and answer later."""


def no_store(target: object) -> str | None:
    """How to mend that something like a store can't be observed; `None` of what is not like one."""
    kinds = _kinds(target)
    if _is_pipeline(kinds):
        return (
            "A pipeline answers later than it is asked: hand in the redis.Redis that it comes from."
        )
    if any(package == "diskcache" for package, _ in kinds):
        return "Hand in the diskcache.Cache behind it, which is its attribute cache."
    return None


def methods_of(store: object) -> Mapping[str, Method] | None:
    """By name; `None` for what is no store that can be observed."""
    if isinstance(store, type):
        return None
    if isinstance(store, BaseCache):
        return ADAPTER
    kinds = _kinds(store)
    if _is_pipeline(kinds):
        return None
    return next((_STORES[kind] for kind in kinds if kind in _STORES), None)


def _kinds(store: object) -> list[tuple[str, str]]:
    """Package and name of its class, and of those that it is derived from."""
    return [(kind.__module__.split(".")[0], kind.__name__) for kind in type(store).__mro__]


def _is_pipeline(kinds: list[tuple[str, str]]) -> bool:
    return any(package == "redis" and name in _PIPELINES for package, name in kinds)


def is_backend(store: object) -> bool:
    """Whether it is a backend's own client, and no adapter to one."""
    return methods_of(store) not in (None, ADAPTER)


def is_async(store: object) -> bool:
    """Whether its methods are awaited: `redis.asyncio`'s."""
    return inspect.iscoroutinefunction(getattr(type(store), "execute_command", None))
