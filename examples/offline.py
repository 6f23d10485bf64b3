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
    with _simulated_provider() as provider:
        print(
            "No OPENAI_API_KEY is set: a simulated provider answers, with values that are made up."
        )
        os.environ["OPENAI_API_KEY"] = "simulated"
        os.environ["OPENAI_BASE_URL"] = provider.openai_url
        try:
            yield
        finally:
            del os.environ["OPENAI_API_KEY"], os.environ["OPENAI_BASE_URL"]


def _simulated_provider() -> SimulatedProvider:
    try:
        from llm_cache_otel.cli.simulate import SimulatedProvider
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"The simulated provider needs {error.name} as well: from the clone, "
            "pip install -c constraints.txt '.[cli]', or else set OPENAI_API_KEY."
        ) from None
    try:
        return SimulatedProvider(latency=0.2, port=_PORT)
    except OSError:  # taken, perhaps by another example
        return SimulatedProvider(latency=0.2)
