"""Everything this package knows of Instructor's insides: the one file to mend when they move.

Checked on Instructor 1.17. `cache_module`'s helpers are imported by Instructor at call time and
`retry_module`'s are globals of the module that calls them, so replacing the modules' attributes
reaches every client, whenever it was made.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import instructor.cache as cache_module
import instructor.v2.core.patch as retry_module
from instructor import AsyncInstructor, Instructor, Mode
from instructor.cache import AutoCache, BaseCache, DiskCache
from instructor.core.exceptions import InstructorRetryException
from instructor.core.hooks import Hooks
from instructor.dsl.iterable import IterableBase
from instructor.dsl.parallel import ParallelBase
from instructor.dsl.partial import PartialBase
from instructor.dsl.simple_type import AdapterBase

__all__ = [
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
    "is_patched_create",
    "parallel_mode_values",
]

KEY: tuple[ModuleType, str] = (cache_module, "make_request_cache_key")
LOAD: tuple[ModuleType, str] = (cache_module, "load_cached_response")
STORE: tuple[ModuleType, str] = (cache_module, "store_cached_response")
RETRY_SYNC: tuple[ModuleType, str] = (retry_module, "retry_sync_v2")
RETRY_ASYNC: tuple[ModuleType, str] = (retry_module, "retry_async_v2")

parallel_mode_values = frozenset(str(mode.value) for mode in Mode.parallel_modes())


def auto_cache_size(cache: Any) -> tuple[int, int]:
    """Entries held by an `AutoCache`, and entries it has room for."""
    return len(cache._cache), cache._maxsize


def is_patched_create(create: Any) -> bool:
    """Whether a `create` is the function that `instructor.patch` puts in the SDK's place."""
    function = inspect.unwrap(create, stop=lambda f: hasattr(f, "__globals__"))
    module = getattr(function, "__globals__", {}).get("__name__", "")
    return str(module).split(".")[0] == "instructor"
