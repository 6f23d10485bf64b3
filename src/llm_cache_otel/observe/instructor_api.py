"""Everything this package knows of Instructor's insides: the one file to mend when they move.

Checked on Instructor 1.10 to 1.17. The cache's helpers are imported by Instructor at call time and the
retry loops are globals of the module that calls them, so replacing the modules' attributes reaches every
client, whenever it was made. What a later Instructor has moved elsewhere is absent here, `missing` says
what can't be seen for it, and the rest goes on.

Since 1.15.3 Instructor's packages import each other only when asked. This module is imported while one of
them may be half done, so each name is looked for first where it is at home.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any

from llm_cache_otel.facts import Inside

__all__ = [
    "CREATE",
    "KEY",
    "LOAD",
    "RETRY_ASYNC",
    "RETRY_SYNC",
    "STORE",
    "AdapterBase",
    "AsyncInstructor",
    "AutoCache",
    "BaseCache",
    "DiskCache",
    "Hooks",
    "Instructor",
    "InstructorRetryException",
    "IterableBase",
    "ParallelBase",
    "PartialBase",
    "auto_cache_size",
    "changes_messages",
    "default_model",
    "ignores_other_caches",
    "is_patched_create",
    "is_somebody_elses",
    "keys_have_namespaces",
    "layers",
    "missing",
    "modules",
    "no_hooks",
    "parallel_mode_values",
    "patch_places",
    "unseen",
    "version",
]

Place = tuple[ModuleType, str]
"""A module, and the name of a function in it."""

_DEEPEST = 64
_ANSWERS = "which answers can't be cached"

missing: list[str] = []
"""What can't be observed because this Instructor keeps its insides elsewhere, in a user's words."""


class _Absent:
    """Stands in for a class that this Instructor does not have: nothing is one of it."""


def _place(what: str, *candidates: str) -> Place | None:
    """The first of these functions (`module:function`) that there is."""
    for candidate in candidates:
        module_name, name = candidate.split(":")
        try:
            module = import_module(module_name)
            getattr(module, name)
        except (ImportError, AttributeError):
            continue
        return module, name
    if what not in missing:
        missing.append(what)
    return None


def _class(what: str, *candidates: str) -> Any:
    place = _place(what, *candidates)
    return _Absent if place is None else getattr(*place)


def _is_there(kind: type) -> bool:
    return kind is not _Absent


if TYPE_CHECKING:
    from instructor import AsyncInstructor, Instructor
    from instructor.cache import AutoCache, BaseCache, DiskCache
    from instructor.core.exceptions import InstructorRetryException
    from instructor.core.hooks import Hooks
    from instructor.dsl.iterable import IterableBase
    from instructor.dsl.parallel import ParallelBase
    from instructor.dsl.partial import PartialBase
    from instructor.dsl.simple_type import AdapterBase
else:
    Instructor = _class(
        "clients",
        "instructor.v2.core.client:Instructor",  # since 1.15.3
        "instructor:Instructor",
    )
    AsyncInstructor = _class(
        "async clients", "instructor.v2.core.client:AsyncInstructor", "instructor:AsyncInstructor"
    )
    BaseCache = _class("cache adapters", "instructor.cache:BaseCache")
    AutoCache = _class("the size of an AutoCache", "instructor.cache:AutoCache")
    DiskCache = _class("which cache is a DiskCache", "instructor.cache:DiskCache")
    InstructorRetryException = _class(
        "what a retry failed of",
        "instructor.v2.core.errors:InstructorRetryException",  # since 1.15.3
        "instructor.core.exceptions:InstructorRetryException",  # since 1.11
        "instructor.exceptions:InstructorRetryException",
    )
    Hooks = _class(
        "answers that can't be parsed",
        "instructor.v2.core.hooks:Hooks",
        "instructor.core.hooks:Hooks",
        "instructor.hooks:Hooks",
    )
    AdapterBase = _class(
        _ANSWERS,
        "instructor.v2.dsl.simple_type:AdapterBase",
        "instructor.dsl.simple_type:AdapterBase",
    )
    IterableBase = _class(
        _ANSWERS, "instructor.v2.dsl.iterable:IterableBase", "instructor.dsl.iterable:IterableBase"
    )
    ParallelBase = _class(
        _ANSWERS, "instructor.v2.dsl.parallel:ParallelBase", "instructor.dsl.parallel:ParallelBase"
    )
    PartialBase = _class(
        _ANSWERS, "instructor.v2.dsl.partial:PartialBase", "instructor.dsl.partial:PartialBase"
    )

KEY = _place(
    "cache keys", "instructor.cache:make_request_cache_key", "instructor.cache:make_cache_key"
)
LOAD = _place("lookups", "instructor.cache:load_cached_response")
STORE = _place("stores", "instructor.cache:store_cached_response")
RETRY_SYNC = _place(
    "attempts",
    "instructor.v2.core.patch:retry_sync_v2",  # since 1.15.3
    "instructor.core.patch:retry_sync",  # since 1.11
    "instructor.patch:retry_sync",
)
RETRY_ASYNC = _place(
    "attempts of async clients",
    "instructor.v2.core.patch:retry_async_v2",
    "instructor.core.patch:retry_async",
    "instructor.patch:retry_async",
)

unseen = frozenset(
    inside
    for inside, places in (
        (Inside.LOOKUP, (LOAD,)),
        (Inside.ATTEMPTS, (RETRY_SYNC, RETRY_ASYNC)),
    )
    if None in places
)

CREATE = "create_fn"
"""The attribute of a client that holds the function which every way to call it ends in."""

keys_have_namespaces = KEY is not None and KEY[1] == "make_request_cache_key"
"""Since 1.17. Before, whoever asks the same of a cache gets the same entry, whichever client it asks."""

changes_messages = not keys_have_namespaces
"""In JSON modes, before 1.17: the schema is written into the caller's own messages."""

ignores_other_caches = (
    _is_there(BaseCache) and RETRY_SYNC is not None and RETRY_SYNC[1] == "retry_sync_v2"
)
"""Since 1.15.3. Before, whatever stands in `cache=` is asked, a `BaseCache` or not."""


_MODE = _place(_ANSWERS, "instructor.v2.core.mode:Mode", "instructor:Mode")
parallel_mode_values = frozenset(
    str(mode.value)
    for mode in (() if _MODE is None else getattr(*_MODE))
    if "PARALLEL" in mode.name
)


def version() -> str:
    try:
        return metadata.version("instructor")
    except metadata.PackageNotFoundError:
        return "of an unknown version"


def modules() -> list[ModuleType]:
    """What of Instructor has been imported."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name.split(".", maxsplit=1)[0] == "instructor" and isinstance(module, ModuleType)
    ]


def patch_places() -> list[Place]:
    """Where `patch` is found by those who call it, Instructor itself among them.

    Since 1.15.3 it has one home, and the others come and take it from there.
    """
    places = [sys.modules.get("instructor"), sys.modules.get("instructor.core.patch")]
    if RETRY_SYNC is not None:
        places.append(RETRY_SYNC[0])
    unique = dict.fromkeys(module for module in places if module is not None)
    return [(module, "patch") for module in unique if "patch" in vars(module)]


def no_hooks() -> Any | None:
    """The hooks of a call that has none, for ours to stand in for."""
    return Hooks() if _is_there(Hooks) else None


def auto_cache_size(cache: Any) -> tuple[int, int]:
    """Entries held by an `AutoCache`, and entries it has room for."""
    return len(cache._cache), cache._maxsize


def is_patched_create(create: Callable[..., Any]) -> bool:
    """Whether a `create` is the function that `instructor.patch` puts in the SDK's place."""
    return any(_home(function) == "instructor" for function in layers(create))


def layers(function: Any) -> Iterator[Any]:
    """A function and all that it wraps, outermost first. Some wrap themselves, or answer for anything."""
    for _ in range(_DEEPEST):
        if function is None:
            return
        yield function
        function = getattr(function, "__wrapped__", None)


def default_model(client: Any) -> str | None:
    """The model that a client asks where a call names none: among its arguments, or kept by its `create`."""
    model = getattr(client, "kwargs", {}).get("model")
    for function in layers(getattr(client, "create_fn", None)):
        if model is None and inspect.isfunction(function):
            model = inspect.getclosurevars(function).nonlocals.get("default_model")
    return model if isinstance(model, str) else None


def _home(function: Any) -> str:
    namespace = getattr(function, "__globals__", None)
    module = namespace.get("__name__") if isinstance(namespace, dict) else None
    return str(module).split(".", maxsplit=1)[0]


def is_somebody_elses(create: Any) -> bool:
    """Whether a client's `create` can't end in Instructor's: a function that holds on to nothing.

    A stub, as tests put there; whoever did may ask whether it is still the very same.
    """
    if not inspect.isfunction(create) or create.__closure__ is not None:
        return False
    return not is_patched_create(create)
