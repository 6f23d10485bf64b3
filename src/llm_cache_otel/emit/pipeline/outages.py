"""Tells in words when a private pipeline can't deliver, and when it can again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from llm_cache_otel import forks
from llm_cache_otel.emit.log import logger, warn_once
from llm_cache_otel.emit.pipeline.fallbacks import Signal


class Outages:
    """An outage is told once, by the signal that meets it first. Thread-safe.

    `failures` is how often something could not be delivered, after its exporter had tried again.
    """

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._failing: set[Signal] = set()
        self._recovered = 0.0
        self._told: Signal | None = None
        self._overflowed = False
        self._told_late = False
        self._lost: Counter[str] = Counter()
        self._heard: tuple[Signal, str] | None = None
        self._waiting: list[Callable[[], None]] = []
        self.failures = 0

    def when_delivered(self, work: Callable[[], None]) -> None:
        """Do `work` when something can be delivered again."""
        self._waiting.append(work)

    def heard(self, signal: Signal, complaint: str) -> None:
        """An exporter complains, and may yet succeed."""
        self._heard = signal, complaint

    def failed(self, signal: Signal, complaint: str, began: float) -> None:
        """A delivery that `began` then, by the monotonic clock, is given up."""
        with self._lock:
            self.failures += 1
            self._overflowed = False
            # What began in an outage that the other signal has seen end says nothing of another one.
            alone = not self._failing - {signal} and began >= self._recovered
            tell = alone and self._told != signal
            self._told = signal if tell else self._told
            if alone or self._failing:
                self._failing.add(signal)
        if tell:
            logger.warning(
                "llm-cache-otel can't deliver %s %s. Calls are not affected, and it keeps trying; what "
                "does not fit into its queue is lost. `llm-cache-otel doctor` finds out more.",
                signal,
                complaint,
            )

    def delivered(self, signal: Signal) -> None:
        self._heard = None
        if not self._failing and not self._overflowed:
            return
        with self._lock:
            overflowed = self._overflowed and signal == "traces"
            self._overflowed &= not overflowed
            if signal in self._failing:
                self._failing.remove(signal)
                self._recovered = time.monotonic()
            over = self._told is not None and not self._failing
            self._told = self._told if self._failing else None
            lost, self._lost = self._lost, Counter() if over else self._lost
        if over:
            said = " and ".join(f"{number} {what}" for what, number in lost.items())
            loss = f", but {said} were lost" if lost else ""
            logger.info("llm-cache-otel delivers %s again%s.", signal, loss)
        for work in self._waiting:
            work()
        if overflowed and not over and not self._failing:
            warn_once(
                "overflow",
                "llm-cache-otel makes spans faster than they are exported, and drops what its queue has no "
                "room for. A larger OTEL_BSP_MAX_QUEUE_SIZE holds more, sampling makes fewer.",
            )

    def overflowed(self) -> None:
        """A span was dropped. Whether that is part of an outage, its exporter will know."""
        self._overflowed = True
        self.lost(1, "spans")

    def lost(self, number: int, what: str) -> None:
        """So many of them were given up, in an outage."""
        self._lost[what] += number

    def out_of_time(self) -> None:
        """The program exits, or no longer waits for a flush, and something is still unsent."""
        with self._lock:
            late, self._told_late = self._told_late, True
            signal, complaint = self._heard or ("traces", "to a Collector that does not answer")
            tell = not self._failing and not late
            if tell:
                self._failing.add(signal)
                self._told = signal
        if tell:
            logger.warning(
                "llm-cache-otel could not deliver everything in time: %s %s. Calls are not affected. "
                "`llm-cache-otel doctor` finds out more.",
                signal,
                complaint,
            )
