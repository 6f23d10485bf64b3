"""Says later what can't be said now: what a finalizer finds out, and what prices have to be loaded for.

A garbage collection can strike while this very thread holds one of the OpenTelemetry SDK's locks, and the
streams and coroutines that it drops would wait for that lock for ever. A `SimpleQueue` can be put into
at any time, even then; a thread of our own takes it from there.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue

from llm_cache_otel import forks

Work = Callable[[], None]

_EXIT_TIMEOUT = 2.0


class Later:
    """A thread that does what is put, in order. It is started by `ready`, never by a finalizer."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._queue: SimpleQueue[Work] = SimpleQueue()
        self._generation: int | None = None
        self._at_exit: list[Work] = []

    def ready(self) -> None:
        """Make sure that this process has the thread; a forked child has lost its parent's."""
        if self._generation == forks.generation:
            return
        with self._lock:
            if self._generation == forks.generation:
                return
            if self._generation is None:
                atexit.register(self.wait, _EXIT_TIMEOUT)
            if forks.generation and "multiprocessing.util" in sys.modules:
                # A forked child of multiprocessing skips atexit before Python 3.13.
                sys.modules["multiprocessing.util"].Finalize(None, self._exit, exitpriority=-100)
            queue: SimpleQueue[Work] = SimpleQueue()
            thread = threading.Thread(
                target=self._run, args=(queue,), name="llm_cache_otel-later", daemon=True
            )
            thread.start()
            self._queue, self._generation = queue, forks.generation

    def put(self, work: Work) -> None:
        """Have `work` done; it guards itself."""
        self._queue.put(work)

    def wait(self, timeout: float) -> bool:
        """Whether all that was put before is done within `timeout` seconds."""
        if self._generation != forks.generation:
            return True
        done = threading.Event()
        self._queue.put(done.set)
        return done.wait(timeout)

    def come_first_at_exit(self) -> None:
        """Have what is put done before anybody exits who registered so far, such as a provider."""
        if self._generation is not None:
            atexit.unregister(self.wait)
            atexit.register(self.wait, _EXIT_TIMEOUT)

    def at_exit(self, work: Work) -> None:
        """Have `work` done when a child of multiprocessing ends, and what was put before is done."""
        self._at_exit.append(work)

    def _exit(self) -> None:
        self.wait(_EXIT_TIMEOUT)
        for work in self._at_exit:  # which what was put may have added to
            work()

    @staticmethod
    def _run(queue: SimpleQueue[Work]) -> None:
        while True:
            work = queue.get()
            with contextlib.suppress(BaseException):  # or nothing would ever be told again
                work()


later = Later()
