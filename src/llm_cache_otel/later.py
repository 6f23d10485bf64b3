"""Says later what calls have noted, in batches: a call waits for nothing but its being noted.

What is put may come from anywhere, even from a finalizer that a garbage collection runs while this very
thread holds one of the OpenTelemetry SDK's locks, or from a signal's handler; so putting takes no lock. A
thread of our own does what was put, a second after the first of it, or at once where it is to `flush`;
whoever can't wait for that, such as a collection of metrics, does it in order all the same.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

from llm_cache_otel import forks
from llm_cache_otel.guard import Guard

Work = Callable[[], None]

_EXIT_TIMEOUT = 2.0
_PAUSE = 1.0
"""Seconds that more may come, once something has been put."""

_MANY, _MOST = 1_024, 4_096
"""How much is not waited with any longer, and how much there is room for."""

_SLICE = 0.001
"""Seconds after which the thread lets others have Python's lock; by themselves they would wait for longer."""

_PATIENCE = 0.025
"""Seconds that one who puts waits to help, where there is no room."""


class Later:
    """Does what is put, in order, one at a time. Thread-safe. No finalizer starts its thread, but `ready`."""

    def __init__(self) -> None:
        self._starting = forks.lock()
        self._generation: int | None = None
        self._first_at_exit: list[Work] = []
        self._at_exit: list[Work] = []
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._doing = forks.lock()
        self._work: deque[Work] = deque()
        self._closing: dict[object, Work] = {}
        self._flushes: deque[threading.Event] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._hurry: SimpleQueue[None] = SimpleQueue()
        self._is_rung = False
        self._done = 0
        self._stuck_at: int | None = None
        forks.pause_for_forks(self)

    def ready(self) -> None:
        """Make sure that this process has the thread; a forked child has lost its parent's."""
        if self._generation == forks.generation:
            return
        with self._starting:
            if self._generation == forks.generation:
                return
            if self._generation is None:
                atexit.register(self._wait_at_exit)
            if forks.generation and "multiprocessing.util" in sys.modules:
                # A forked child of multiprocessing skips atexit before Python 3.13.
                sys.modules["multiprocessing.util"].Finalize(None, self._exit, exitpriority=-100)
            thread = threading.Thread(
                target=self._run,
                args=(self._bell, self._hurry),
                name="llm_cache_otel-later",
                daemon=True,
            )
            thread.start()
            self._generation = forks.generation

    def put(self, work: Work, *, helps: bool = False) -> bool:
        """Have `work` done, which guards itself. Whether there is room for it.

        Where there is none, one who `helps` does some of what waits first; nobody may who could hold a lock.
        """
        if len(self._work) >= _MOST and not (helps and self._has_helped()):
            return False
        self._work.append(work)
        if not self._is_rung:
            self._is_rung = True
            self._bell.put(None)
        elif len(self._work) == _MANY:
            self._hurry.put(None)
        return True

    @property
    def waiting(self) -> int:
        """How much has been put that is not done."""
        return len(self._work)

    def close_with(self, whose: object, work: Work) -> None:
        """Have `work` done, once, when nothing else waits: it sums up what was done, and guards itself."""
        self._closing[whose] = work

    def wait(self, timeout: float) -> bool:
        """Whether all that was put before is done within `timeout` seconds. Does it itself."""
        deadline = time.monotonic() + timeout
        for _ in range(len(self._work)):
            if not self._do_one(max(0.0, deadline - time.monotonic())):
                return False
        return self._close(max(0.0, deadline - time.monotonic()))

    def flush(self, timeout: float) -> bool:
        """`wait`, for who may be a signal's handler: what that has interrupted may hold the SDK's locks.

        The thread does it. Within what is done already there is nothing to wait for.
        """
        if self._doing._is_owned():
            return False
        if self._generation != forks.generation:  # which has no thread
            return self.wait(timeout)
        over = threading.Event()
        self._flushes.append(over)
        if not self._is_rung:
            self._is_rung = True
            self._bell.put(None)
        self._hurry.put(None)
        return over.wait(timeout)

    def come_first_at_exit(self) -> None:
        """Have what is put done before anybody exits who registered so far, such as a provider."""
        if self._generation is not None:
            atexit.unregister(self._wait_at_exit)
            atexit.register(self._wait_at_exit)

    def first_at_exit(self, work: Work) -> None:
        """Have `work` done when a process ends, which may still put something."""
        self._first_at_exit.append(work)

    def at_exit(self, work: Work) -> None:
        """Have `work` done when a child of multiprocessing ends, and what was put before is done."""
        self._at_exit.append(work)

    def _wait_at_exit(self) -> None:
        for work in self._first_at_exit:
            _guarded(work)
        self.wait(_EXIT_TIMEOUT)

    def _exit(self) -> None:
        self._wait_at_exit()
        for work in self._at_exit:  # which what was put may have added to
            work()

    def pause(self, deadline: float) -> bool:
        """Let what is being done be done before this process forks: it may hold the SDK's locks."""
        is_within = self._doing._is_owned()
        if not self._doing.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return False
        if not is_within:
            with _guard("fork"):
                self._do_closing()  # or a child would have it summed up as well
        return True

    def resume(self) -> None:
        forks.let_go(self._doing)

    def end(self) -> None:
        """In a child: what was put is its parent's to say."""
        self._begin_anew()

    def _run(self, bell: SimpleQueue[None], hurry: SimpleQueue[None]) -> None:
        while True:
            bell.get()
            with contextlib.suppress(Empty):
                hurry.get(timeout=_PAUSE)
            self._is_rung = False
            while self._work or self._closing or self._flushes:
                flushes = list(self._flushes)
                with contextlib.suppress(BaseException):  # or nothing would ever be told again
                    if self._do_all():
                        for flush in flushes:
                            self._flushes.remove(flush)
                            flush.set()

    def _do_all(self) -> bool:
        """Of a large heap without letting go, for it grows faster than that."""
        let_go = time.perf_counter() + _SLICE
        while self._work:
            self._do_one(_EXIT_TIMEOUT)
            if time.perf_counter() > let_go and len(self._work) < _MOST // 2:
                time.sleep(0)
                let_go = time.perf_counter() + _SLICE
        return self._close(_EXIT_TIMEOUT)

    def _do_one(self, timeout: float) -> bool:
        """Whether the next is done in time, by whomever."""
        return forks.within(self._doing, timeout, self._do_next)

    def _do_next(self) -> None:
        if self._work:
            work = self._work.popleft()
            self._done += 1
            _guarded(work)

    def _close(self, timeout: float) -> bool:
        return forks.within(self._doing, timeout, self._do_closing)

    def _do_closing(self) -> None:
        while self._closing:
            _guarded(self._closing.popitem()[1])

    def _has_helped(self) -> bool:
        """Not where whatever is being done hangs."""
        if self._done == self._stuck_at:
            return False
        if self._do_one(_PATIENCE):
            return True
        self._stuck_at = self._done
        return False


_guard = Guard(lambda where, error: None)


def _guarded(work: Work) -> None:
    """Whoever does it may be the host's thread: what a signal's handler raises goes on, and nothing else."""
    with _guard("later"):
        work()


later = Later()
