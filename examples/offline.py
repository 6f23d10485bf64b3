"""Lets the examples run without a key: against a simulated provider, unless OPENAI_API_KEY is set."""

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
    """While open, OpenAI clients find a provider: the real one if there is a key for it."""
    if os.environ.get("OPENAI_API_KEY"):
        yield
        return
    print("No OPENAI_API_KEY is set: a simulated provider answers, with values that are made up.")
    with _simulated_provider() as provider:
        os.environ["OPENAI_API_KEY"] = "simulated"
        os.environ["OPENAI_BASE_URL"] = provider.openai_url
        try:
            yield
        finally:
            del os.environ["OPENAI_API_KEY"], os.environ["OPENAI_BASE_URL"]


def _simulated_provider() -> SimulatedProvider:
    from llm_cache_otel.cli.simulate import SimulatedProvider  # pip install 'llm-cache-otel[cli]'

    try:
        return SimulatedProvider(latency=0.2, port=_PORT)
    except OSError:  # taken, perhaps by another example
        return SimulatedProvider(latency=0.2)
