"""What is said in words, through the logger `llm_cache_otel`: each thing once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable

from llm_cache_otel import forks

_MOST_MESSAGES = 1_000

logger = logging.getLogger("llm_cache_otel")


_lock = forks.lock()
_causes: set[Hashable] = set()


def warn_once(cause: Hashable, message: str) -> None:
    """Logs a warning the first time that this process, or one that it is forked from, sees its cause.

    Thread-safe, and bounded.
    """
    with _lock:
        if cause in _causes or len(_causes) >= _MOST_MESSAGES:
            return
        _causes.add(cause)
    logger.warning("%s", message)


class Notes:
    """What is to be logged when no lock is held any more: a handler of the host's may call us."""

    def __init__(self) -> None:
        self._notes: list[Callable[[], None]] = []

    def warn_once(self, cause: Hashable, message: str) -> None:
        self._notes.append(lambda: warn_once(cause, message))

    def info(self, message: str) -> None:
        self._notes.append(lambda: logger.info("%s", message))

    def debug(self, message: str, error: BaseException) -> None:
        self._notes.append(lambda: logger.debug("%s", message, exc_info=error))

    def log(self) -> None:
        for note in self._notes:
            note()
