"""Functions of programs, behind caches, whose runs and calls are counted."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

from support.models import User
from support.recording import Recording

BACKEND = "llm_cache.backend"
OUTCOME = "llm_cache.outcome"
REASON = "llm_cache.reason"


def asking(client: Any, model: str = "gpt-4.1-mini") -> Callable[[str], User]:
    """The guides' function: a text in, a model out."""

    def extract(text: str) -> User:
        messages = [{"role": "user", "content": text}]
        return client.create(model=model, response_model=User, messages=messages)

    return extract


def requests(recording: Recording, by: str = OUTCOME, backend: str = "function") -> Counter[Any]:
    """How many requests of one backend there were since the last time."""
    counted: Counter[Any] = Counter()
    for metric, point in recording.raw_points():
        if metric.name == "llm_cache.requests" and point.attributes.get(BACKEND) == backend:
            counted[point.attributes.get(by)] += point.value
    return counted


def sums(recording: Recording) -> Counter[str]:
    """All counters since the last time, over all attributes."""
    totals: Counter[str] = Counter()
    for metric, point in recording.raw_points():
        if hasattr(point, "value"):
            totals[metric.name] += point.value
            layer = point.attributes.get("llm_cache.layer")
            if layer:
                totals[f"{layer} {metric.name}"] += point.value
    return totals


def cached(**parameters: Any) -> Callable[[Callable[..., Any]], Any]:
    """`functools.lru_cache` with these parameters, without a default."""
    return functools.lru_cache(**{"maxsize": None, **parameters})
