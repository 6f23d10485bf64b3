"""What the OpenTelemetry SDK logs on our behalf comes to us, to be told in our own words, or not at all.

The application's own providers stay heard: only a thread that does something for us is listened to.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Hush(threading.local, logging.Filter):
    """Hands a record to this thread's `listener`, or lets it pass where there is none."""

    listener: Callable[[logging.LogRecord], None] | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if self.listener is None:
            return True
        self.listener(record)
        return False


hush = _Hush()


def listen_to(name: str) -> None:
    """Have the logger of that name ask us first: exporters' own filters drop what they said before."""
    filters = logging.getLogger(name).filters
    if hush not in filters:
        filters.insert(0, hush)


@contextmanager
def hushed(listener: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """This thread's records, of loggers that are listened to, go to `listener`."""
    before, hush.listener = hush.listener, listener
    try:
        yield
    finally:
        hush.listener = before


@contextmanager
def hushed_sdk() -> Iterator[None]:
    """While something of ours is made: the SDK would quote a variable's value, headers among them."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("opentelemetry"):
            listen_to(name)
    # Detectors of resources run in threads that have no listener.
    detectors, nothing = logging.getLogger("opentelemetry.sdk.resources"), logging.Filter("nothing")
    detectors.addFilter(nothing)
    try:
        with hushed(lambda _: None):
            yield
    finally:
        detectors.removeFilter(nothing)
