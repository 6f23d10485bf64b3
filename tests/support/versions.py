"""What the Instructor that is installed does otherwise than the newest, each said once and by name."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import pytest
from instructor import Instructor, Mode, hooks, patch

from llm_cache_otel.observe import instructor_api

INSTRUCTOR = tuple(int(part) for part in version("instructor").split(".")[:3])

HAS_NAMESPACES = INSTRUCTOR >= (1, 17)
"""Before, the clients of a cache share its entries, and `cache_namespace` goes to the SDK, to be refused."""

KEYS_CAN_FAIL = INSTRUCTOR >= (1, 17)
"""Before, a key is of messages, model, response model and mode alone, and its values become text."""

CACHES_PARALLEL_TOOLS_NOT = INSTRUCTOR >= (1, 17)
"""Before, a call in parallel tools mode with a cache fails where its key is computed."""

ONLY_BASE_CACHES = INSTRUCTOR >= (1, 15, 3)
"""Before, whatever stands in `cache=` is asked."""

ITERABLES_ARE_LAZY = INSTRUCTOR[:2] != (1, 13)
"""Instructor 1.13 takes all there is, within its retries, before `create_iterable` returns a list."""

PARTIALS_ARE_LISTS = INSTRUCTOR >= (1, 13)

HAS_MODES_FOR_ALL = "provider" in inspect.signature(patch).parameters
"""Before, each provider has modes of its own, and `patch` knows OpenAI's format only."""

HAS_HOOKS_PER_CALL = "hooks" in inspect.signature(Instructor.create).parameters
HAS_USAGE_HOOK = any(name.value == "completion:usage" for name in hooks.HookName)

RETRIES_COUNT_FROM_0 = INSTRUCTOR >= (1, 15, 3)
"""Before, `max_retries` is how many attempts there are, of which any error costs one."""

TOTALS_HAVE_WRITES = INSTRUCTOR >= (1, 16)
"""Before, what Instructor stores of several attempts says nothing, or less, of writes to prompt caches."""

STORES_UNDER_ANOTHER_KEY = (1, 15, 3) <= INSTRUCTOR < (1, 17)
"""These compute the key again to store, of the messages as asking again left them: nobody finds the entry."""

GENAI_JSON = Mode.JSON if HAS_MODES_FOR_ALL else Mode.GENAI_STRUCTURED_OUTPUTS

lazy_iterables = pytest.mark.skipif(
    not ITERABLES_ARE_LAZY, reason="Instructor 1.13 makes a list of create_iterable"
)
since_namespaces = pytest.mark.skipif(
    not HAS_NAMESPACES, reason="before Instructor 1.17 a cache has no namespaces"
)
since_modes_for_all = pytest.mark.skipif(
    not HAS_MODES_FOR_ALL, reason="before, instructor.patch knows OpenAI's format only"
)
since_keys_can_fail = pytest.mark.skipif(
    not KEYS_CAN_FAIL, reason="before Instructor 1.17 there is a key for every request"
)
since_parallel_tools = pytest.mark.skipif(
    not CACHES_PARALLEL_TOOLS_NOT,
    reason="before Instructor 1.17 parallel tools with a cache fail before anybody is asked",
)
since_only_base_caches = pytest.mark.skipif(
    not ONLY_BASE_CACHES, reason="before Instructor 1.15.3 any object is taken for a cache"
)
before_only_base_caches = pytest.mark.skipif(
    ONLY_BASE_CACHES, reason="since Instructor 1.15.3 what is no BaseCache is ignored"
)


def namespace(name: str) -> dict[str, Any]:
    """The argument that has clients share a cache's entries, where they do not do so anyhow."""
    return {"cache_namespace": name} if HAS_NAMESPACES else {}


def max_retries(*, attempts: int) -> int:
    return attempts - 1 if RETRIES_COUNT_FROM_0 else attempts


def patched_places() -> list[tuple[Any, str]]:
    """Where Instructor's functions are that are watched."""
    places = (
        *(instructor_api.KEY, instructor_api.LOAD, instructor_api.STORE),
        *(instructor_api.RETRY_SYNC, instructor_api.RETRY_ASYNC),
    )
    assert None not in places, instructor_api.missing
    return [place for place in places if place is not None]
