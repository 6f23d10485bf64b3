"""Every function behind `instructor_cache` fails inside live calls: none is lost, nor changed.

Where it is observing that fails, nothing is noticed. Where it is the caching, a function runs once more.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diskcache
import pytest
from pydantic import BaseModel, SecretStr
from support.cached import Runs
from support.models import MESSAGES, DictCache, FailingCache, User
from support.recording import Recording
from support.sabotage import FUNCTIONS, Broken
from support.ways import MODEL, make_client

from llm_cache_otel import instructor_cache, instrument, uninstrument
from llm_cache_otel.cli.simulate import SimulatedProvider

Observe = Callable[..., None]

WHEN_DECORATED = (
    *("caching.decorator.", "caching.store._lifetime", "observe.response_model._enclosed"),
    *(f"caching.{each}.__init__" for each in ("store.Store", "keys.Keys", "entries.Entries")),
    *(
        f"caching.cached_function.CachedFunction.{name}"
        for name in ("__init__", "wrapper", "_sync_wrapper", "_async_wrapper")
    ),
)
OBSERVING = [name for name in FUNCTIONS if name.startswith("observe.entry_function.")]
CACHING = [
    name
    for name in FUNCTIONS
    if name.startswith("caching.") and not name.startswith(WHEN_DECORATED)
]
UNHEARD = (
    "caching.cached_function.CachedFunction._warn",
    "caching.cached_function.CachedFunction._failed",
)
"""What would say so fails itself."""


@dataclass
class Options:
    tags: set[str]


class Settings(BaseModel):
    key: SecretStr


class Boom(Exception):
    pass


def program(
    provider: SimulatedProvider, directory: Path, observe: Observe, runs: Runs
) -> list[Any]:
    """All that the program sees: what it is answered, and what is raised."""
    seen: list[Any] = []
    client = make_client(provider)
    store, disk = DictCache(), diskcache.Cache(str(directory))

    @instructor_cache(disk, ttl=600)
    def extract(name: str, *, options: Any = None) -> User:
        if name == "boom":
            raise Boom(name)
        if name == "nobody":
            return None  # type: ignore[return-value]
        if name == "old":
            return User.model_construct(name="Ada", age="old")
        runs(name)
        client.create(model=MODEL, messages=MESSAGES, response_model=User)
        return User(name=name, age=36)

    @instructor_cache(store)
    async def extract_async(name: str) -> User:
        runs(name)
        return User(name=name, age=36)

    @instructor_cache(FailingCache("get", "set"))
    def fails(name: str) -> User:
        return User(name=name, age=36)

    observe(client, extract, extract_async, fails)
    arguments = [None, Options({"a"}), Settings(key=SecretStr("a")), User, dict, object()]
    for _ in range(2):
        for options in arguments:
            seen.append(extract("Ada", options=options))
        seen.append(asyncio.run(extract_async("Ada")))
        seen += [fails("Ada"), extract("nobody"), extract("old").age]
        for args in (("boom",), ("Ada", 7)):
            try:
                extract(*args)
            except (Boom, TypeError) as error:
                seen.append((type(error), str(error), error.__context__))
    for key in disk:
        disk[key] = "spoiled"
    seen.append(extract("Ada"))
    disk.close()
    client.client.close()
    return seen


def run(*args: Any) -> list[Any]:
    """In a context of its own: what is broken may be what would leave it again."""
    return contextvars.copy_context().run(program, *args)


@pytest.fixture
def may_fail_inside() -> bool:
    return True


@pytest.fixture(scope="module")
def without_us(
    simulated_provider: SimulatedProvider, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Any], int]:
    def observe(*targets: Any) -> None:
        for target in targets:
            uninstrument(target)

    runs = Runs()
    seen = run(simulated_provider, tmp_path_factory.mktemp("sound"), observe, runs)
    return seen, len(runs)


def broken(
    name: str, provider: SimulatedProvider, directory: Path, recording: Recording, runs: Runs
) -> tuple[list[Any], Broken]:
    sabotage = Broken(FUNCTIONS[name])

    def observe(*targets: Any) -> None:
        for target in targets:
            instrument(target, **recording.providers)
        sabotage.start()

    try:
        return run(provider, directory, observe, runs), sabotage
    finally:
        sabotage.stop()


@pytest.mark.parametrize("name", OBSERVING)
def test_where_observing_fails_nothing_is_noticed(
    name: str,
    provider: SimulatedProvider,
    tmp_path: Path,
    recording: Recording,
    without_us: tuple[list[Any], int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    runs = Runs()
    seen, sabotage = broken(name, provider, tmp_path, recording, runs)
    assert (seen, len(runs)) == without_us
    assert sabotage.runs, "is it dead, or does the program above miss it?"
    assert recording.sums("llm_cache.instrumentation.errors", "llm_cache.instrumentation.where")


@pytest.mark.parametrize("name", CACHING)
def test_where_caching_fails_no_call_is_lost(
    name: str,
    provider: SimulatedProvider,
    tmp_path: Path,
    recording: Recording,
    without_us: tuple[list[Any], int],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        "llm_cache_otel.caching.cached_function.warn_once", lambda _, message: said.append(message)
    )
    runs = Runs()
    seen, sabotage = broken(name, provider, tmp_path, recording, runs)
    assert seen == without_us[0]
    assert len(runs) >= without_us[1]
    assert sabotage.runs, "is it dead, or does the program above miss it?"
    if name not in UNHEARD:
        assert any("Sabotage" in message or "can't be part" in message for message in said), said


def test_what_runs_when_decorated_exists() -> None:
    """So that the list above can't go stale."""
    for prefix in WHEN_DECORATED:
        assert any(name.startswith(prefix) for name in FUNCTIONS), prefix
