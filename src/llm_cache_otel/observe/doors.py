"""The kinds of target that can be observed, and how each is opened and closed."""

from __future__ import annotations

import inspect
from functools import cached_property
from types import MethodType
from typing import Any, Protocol

from llm_cache_otel.observe.boundary import ObservedCreate, observed
from llm_cache_otel.observe.clients import observed_clients
from llm_cache_otel.observe.functions import FunctionDoor, is_function, no_function
from llm_cache_otel.observe.instructor_api import (
    Instructor,
    is_patched_create,
    layers,
)
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.sdk_clients import sdk_clients
from llm_cache_otel.observe.sdk_methods import Sdk, sdk_of
from llm_cache_otel.observe.seams import seams
from llm_cache_otel.observe.store_methods import store_methods
from llm_cache_otel.observe.stores import methods_of, no_store
from llm_cache_otel.observe.target import Target, Watch

_SDKS = ("openai.", "anthropic.", "google.genai.")


class Door(Protocol):
    """One target."""

    def obstacle(self) -> str | None:
        """Why it can't be observed after all, in a user's words."""

    def is_open(self) -> bool:
        """Whether it was given to `instrument`, and not let go since."""
        ...

    def open(self, reporter: Reporter, name: str | None) -> Any:
        """What takes the target's place: itself, mostly."""
        ...

    def close(self) -> None: ...


def door_for(target: Any) -> Door | None:
    """The door of a target, or `None` if it is nothing that can be observed."""
    if isinstance(target, type) or _method_of_client(target) is not None:
        return None
    if isinstance(target, Instructor):
        return _InstructorDoor(target)
    if methods_of(target) is not None:
        return _StoreDoor(target)
    if is_function(target):
        return FunctionDoor(target)
    sdk = sdk_of(target)
    return None if sdk is None else patched_door(target) or _SdkDoor(target, sdk)


def mend_for(target: Any) -> str | None:
    """What to hand in instead of something that has no door, where that is known."""
    if isinstance(target, str):
        return f"A label is given by its name: instrument(name={target[:40]!r})."
    method = _method_of_client(target)
    if method is not None:
        return f"Hand in the client itself: instrument(client), not client.{method}."
    module = f"{(target if isinstance(target, type) else type(target)).__module__}."
    if module.startswith(_SDKS):
        return "Hand in the client itself, for example instrument(OpenAI())."
    if module.startswith("botocore."):
        return "Hand it to instructor.from_bedrock(client) first."
    return no_store(target) or no_function(target)


def _method_of_client(target: Any) -> str | None:
    """The name of a method by which a client asks a model; a function that is observed is a program's own."""
    if type(target) is not MethodType:  # and nothing else is asked before that is known
        return None
    owner, name = target.__self__, getattr(target, "__name__", None)
    if not isinstance(name, str):
        return None
    is_instructors = isinstance(owner, Instructor) and hasattr(Instructor, name)
    return name if is_instructors or f"{type(owner).__module__}.".startswith(_SDKS) else None


def patched_door(target: Any) -> PatchedDoor | None:
    completions = _openai_completions(target)
    if completions is not None and is_patched_create(completions.create):
        return PatchedDoor(target, completions)
    return None


def _openai_completions(client: Any) -> Any | None:
    """`client.chat.completions` of an openai SDK client; `None` for anything else."""
    kinds = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(client).__mro__}
    if kinds.isdisjoint({"openai.OpenAI", "openai.AsyncOpenAI"}):
        return None
    if isinstance(getattr(type(client), "chat", None), cached_property) and "chat" not in vars(
        client
    ):
        return None  # not made yet, and so not changed
    return client.chat.completions


class _InstructorDoor:
    """An Instructor client."""

    def __init__(self, client: Instructor) -> None:
        self._client = client

    def obstacle(self) -> str | None:
        return observed_clients.obstacle(self._client)

    def is_open(self) -> bool:
        return observed_clients.is_given(self._client)

    def open(self, reporter: Reporter, name: str | None) -> Any:
        observed_clients.add(self._client, reporter, name)
        seams.open_for(self._client)
        return self._client

    def close(self) -> None:
        if self.is_open():
            observed_clients.remove(self._client)
            seams.close_for(self._client)


class PatchedDoor:
    """An OpenAI client whose `chat.completions.create` is Instructor's, kept in the instance.

    It may have been handed in before that, and is observed as the SDK's still.
    """

    def __init__(self, client: Any, completions: Any) -> None:
        self._client = client
        self._completions = completions

    def obstacle(self) -> str | None:
        return None

    def is_open(self) -> bool:
        observed = self._observed()
        return observed is not None and observed.watch.given

    def open(self, reporter: Reporter, name: str | None) -> Any:
        self.watch(Watch(reporter, name, given=True))
        seams.open_for(self._client)
        return self._client

    def watch(self, watch: Watch) -> None:
        create = self._completions.create
        asynchronous = inspect.iscoroutinefunction(create)
        target = Target(watch, self._client)
        self._completions.create = observed(create, target, asynchronous=asynchronous)

    def close(self) -> None:
        if self.is_open():
            self.unwatch()
            seams.close_for(self._client)
        sdk = sdk_of(self._client)
        if sdk is not None:
            sdk_clients.remove(self._client, sdk)

    def unwatch(self) -> None:
        observed = self._observed()
        if observed is None:
            return
        observed.watch.on = False
        # Somebody who wrapped ours keeps what they have: ours passes through by then.
        if self._completions.create is observed:
            self._completions.create = observed.beneath

    def _observed(self) -> ObservedCreate | None:
        for create in layers(self._completions.create):
            if type(create) is ObservedCreate and create.watch.on:
                return create
        return None


class _SdkDoor:
    """A client of a provider's SDK, as it is."""

    def __init__(self, client: Any, sdk: Sdk) -> None:
        self._client = client
        self._sdk = sdk

    def obstacle(self) -> str | None:
        return None

    def is_open(self) -> bool:
        return sdk_clients.is_given(self._client, self._sdk)

    def open(self, reporter: Reporter, name: str | None) -> Any:
        sdk_clients.add(self._client, self._sdk, reporter, name)
        return self._client

    def close(self) -> None:
        sdk_clients.remove(self._client, self._sdk)


class _StoreDoor:
    """A cache adapter, or a backend's own client."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def obstacle(self) -> str | None:
        return None

    def is_open(self) -> bool:
        return store_methods.get(self._store) is not None

    def open(self, reporter: Reporter, name: str | None) -> Any:
        store_methods.add(self._store, reporter, name)
        return self._store

    def close(self) -> None:
        store_methods.remove(self._store)
