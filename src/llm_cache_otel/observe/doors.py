"""The kinds of target that can be observed, and how each is opened and closed."""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from typing import Any, Protocol

import wrapt

from llm_cache_otel.observe.adapter_methods import adapter_methods
from llm_cache_otel.observe.boundary import ObservedCreate
from llm_cache_otel.observe.call import Target
from llm_cache_otel.observe.instructor_api import (
    AsyncInstructor,
    BaseCache,
    Instructor,
    is_patched_create,
)
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.sdk import provider_name
from llm_cache_otel.observe.seams import seams


class Door(Protocol):
    """One target."""

    def is_open(self) -> bool: ...

    def open(self, reporter: Reporter, name: str | None) -> None: ...

    def close(self) -> None: ...


def door_for(target: Any) -> Door | None:
    """The door of a target, or `None` if it is nothing that can be observed."""
    if isinstance(target, type):
        return None
    if isinstance(target, Instructor):
        return _InstructorDoor(target)
    if isinstance(target, BaseCache):
        return _AdapterDoor(target)
    completions = _openai_completions(target)
    if completions is not None and is_patched_create(completions.create):
        return _PatchedDoor(target, completions)
    return None


def _openai_completions(client: Any) -> Any | None:
    """`client.chat.completions` of an openai SDK client; `None` for anything else."""
    kinds = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(client).__mro__}
    if kinds.isdisjoint({"openai.OpenAI", "openai.AsyncOpenAI"}):
        return None
    return client.chat.completions


class _CreateDoor:
    """A target whose calls all go through one function, kept in an attribute."""

    def __init__(self, owner: Any, holder: Any, attribute: str) -> None:
        self._owner = owner
        self._holder = holder
        self._attribute = attribute

    def is_open(self) -> bool:
        return self._observed() is not None

    def open(self, reporter: Reporter, name: str | None) -> None:
        create = getattr(self._holder, self._attribute)
        asynchronous = isinstance(self._owner, AsyncInstructor) or inspect.iscoroutinefunction(
            create
        )
        undo = ExitStack()
        observed = ObservedCreate(
            create, self._target(reporter, name, create), undo, asynchronous=asynchronous
        )
        seams.open_for(self._owner)
        undo.callback(seams.close_for, self._owner)
        setattr(self._holder, self._attribute, observed)
        undo.callback(self._put_back, observed, create)

    def close(self) -> None:
        observed = self._observed()
        if observed is not None:
            observed.close()

    def _put_back(self, observed: ObservedCreate, create: Any) -> None:
        # Somebody who wrapped ours keeps what they have: ours passes through by then.
        if getattr(self._holder, self._attribute) is observed:
            setattr(self._holder, self._attribute, create)

    def _observed(self) -> ObservedCreate | None:
        create = getattr(self._holder, self._attribute)
        while isinstance(create, wrapt.BaseObjectProxy):
            if isinstance(create, ObservedCreate) and create.is_observing:
                return create
            create = create.__wrapped__
        return None

    def _target(self, reporter: Reporter, name: str | None, create: Any) -> Target:
        raise NotImplementedError


class _InstructorDoor(_CreateDoor):
    """An Instructor client: `create_fn` is what every way to call it ends in."""

    def __init__(self, client: Instructor) -> None:
        super().__init__(client, client, "create_fn")

    def _target(self, reporter: Reporter, name: str | None, create: Any) -> Target:
        client = self._owner
        return Target(
            reporter=reporter,
            name=name,
            sdk_client=client.client,
            provider=provider_name(client.provider.value, client.client, create),
            mode=str(client.mode.value),
        )


class _PatchedDoor(_CreateDoor):
    """An OpenAI client whose `chat.completions.create` is Instructor's."""

    def __init__(self, client: Any, completions: Any) -> None:
        super().__init__(client, completions, "create")

    def _target(self, reporter: Reporter, name: str | None, create: Any) -> Target:
        return Target(
            reporter=reporter, name=name, sdk_client=self._owner, provider=None, mode=None
        )


class _AdapterDoor:
    """A cache adapter."""

    def __init__(self, cache: BaseCache) -> None:
        self._cache = cache

    def is_open(self) -> bool:
        return adapter_methods.get(self._cache) is not None

    def open(self, reporter: Reporter, name: str | None) -> None:
        adapter_methods.add(self._cache, reporter, name)

    def close(self) -> None:
        adapter_methods.remove(self._cache)
