"""What a simulated provider is told to do with the next requests."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cue:
    """How to answer one request otherwise than well.

    `status` other than 200 is an error, `answer` replaces the structured answer (an empty object fails
    most models' validation), `delay` and `chunk_delay` are seconds before the answer and before each
    chunk of a stream, and `break_after` chunks a stream's connection is closed.
    """

    status: int = 200
    answer: Any = None
    delay: float = 0.0
    chunk_delay: float = 0.0
    break_after: int | None = None
    message: str = "the simulated provider was told to fail"


class Cues:
    """Cues in the order they were given, then the default for every further request."""

    def __init__(self, default: Cue) -> None:
        self.default = default
        self._queue: deque[Cue] = deque()

    def add(self, *cues: Cue) -> None:
        self._queue.extend(cues)

    def next(self) -> Cue:
        try:
            return self._queue.popleft()
        except IndexError:
            return self.default

    def clear(self) -> None:
        self._queue.clear()
