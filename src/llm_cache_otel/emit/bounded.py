"""Keeps attribute values of metrics, and span names, from growing without bound."""

from __future__ import annotations

from llm_cache_otel import forks

MOST_VALUES = 100
OTHER = "_OTHER"


class Bounded:
    """Lets the first 100 distinct values through; later ones become `other`. Thread-safe."""

    def __init__(self, other: str = OTHER) -> None:
        self._other = other
        self._seen: set[str] = set()
        self._lock = forks.lock()

    def __call__(self, value: str) -> str:
        if value in self._seen:
            return value
        with self._lock:
            if len(self._seen) >= MOST_VALUES:
                return self._other
            self._seen.add(value)
        return value
