"""Lets the examples run without a key: against a simulated provider, unless there is one for the real one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_cache_otel.cli.simulate import SimulatedProvider

_PORT = 8765  # a steady address: the provider's address is part of Instructor's cache keys


@contextmanager
def openai_or_simulated() -> Iterator[None]:
    """While open, OpenAI clients find a provider: the real one if OPENAI_API_KEY is set."""
    with _or_simulated("OPENAI", path="/v1"):
        yield


@contextmanager
def anthropic_or_simulated() -> Iterator[None]:
    """Likewise for Anthropic, with ANTHROPIC_API_KEY."""
    with _or_simulated("ANTHROPIC"):
        yield


@contextmanager
def gemini_or_simulated() -> Iterator[None]:
    """Likewise for Google's Gemini, with GEMINI_API_KEY."""
    with _or_simulated("GEMINI", address="GOOGLE_GEMINI_BASE_URL"):
        yield


@contextmanager
def _or_simulated(name: str, path: str = "", address: str | None = None) -> Iterator[None]:
    key, address = f"{name}_API_KEY", address or f"{name}_BASE_URL"
    if os.environ.get(key):
        yield
        return
    with _simulated_provider() as provider:
        print(f"No {key} is set: a simulated provider answers, with values that are made up.")
        os.environ[key] = "simulated"
        os.environ[address] = provider.url + path
        try:
            yield
        finally:
            del os.environ[key], os.environ[address]


def _simulated_provider() -> SimulatedProvider:
    try:
        from llm_cache_otel.cli.simulate import SimulatedProvider
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"The simulated provider needs {error.name} as well: from the clone, "
            "pip install -c constraints.txt '.[cli]', or else set a key."
        ) from None
    try:
        return SimulatedProvider(latency=0.2, port=_PORT)
    except OSError:  # taken, perhaps by another example
        return SimulatedProvider(latency=0.2)
