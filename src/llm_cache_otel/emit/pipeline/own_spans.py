"""Batches of spans that outlast an outage: as many as the queue holds, the newest of them."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from llm_cache_otel import forks
from llm_cache_otel.emit.pipeline.hush import hush
from llm_cache_otel.emit.pipeline.outages import Outages
from llm_cache_otel.emit.pipeline.own_exporter import FAILED, OwnExporter


class OwnSpanExporter(OwnExporter):
    """Keeps what can't be delivered now. The SDK's processor would lose a batch with each failure."""

    def __init__(self, exporter: Any, outages: Outages) -> None:
        super().__init__(exporter, "traces", outages)
        self._self_kept: deque[ReadableSpan] = deque()
        self._self_batches: Any = None
        self._self_beside: threading.Thread | None = None
        outages.when_delivered(self._send_kept_beside)

    def belong_to(self, batches: Any) -> None:
        """To the SDK's `BatchProcessor`, whose queue what is kept shares the room with."""
        self._self_batches = batches

    def export(self, spans: Sequence[ReadableSpan]) -> Any:
        result, again = self.deliver(spans)
        if again and self._self_batches is not None:
            self._self_kept.extend(spans)
            self.make_room()
        elif result is FAILED["traces"]:
            self._self_outages.lost(len(spans), "spans")
        else:
            self.send_kept()
        return result

    def make_room(self) -> None:
        """Of more than the queue has room for, drop the oldest."""
        kept, batches = self._self_kept, self._self_batches
        while kept and len(kept) + len(batches._queue) > batches._max_queue_size:
            self._self_outages.lost(len(self._oldest(1)), "spans")

    def _oldest(self, most: int) -> list[ReadableSpan]:
        oldest: list[ReadableSpan] = []
        with contextlib.suppress(IndexError):  # another thread takes them as well
            while len(oldest) < most:
                oldest.append(self._self_kept.popleft())
        return oldest

    def send_kept(self) -> None:
        kept, again = self._self_kept, False
        while kept and not again:
            spans = self._oldest(self._self_batches._max_export_batch_size)
            _, again = self.deliver(spans)
            if again:
                kept.extendleft(reversed(spans))
                self.make_room()

    def _send_kept_beside(self) -> None:
        """Whoever has delivered the other signal's must not wait: that these are taken too is not said."""
        running = self._self_beside is not None and self._self_beside.is_alive()
        if self._self_kept and not running:
            self._self_beside = threading.Thread(
                target=self.send_kept, name="llm_cache_otel-kept", daemon=True
            )
            # Where the interpreter exits no thread starts, and shutdown sends them.
            with contextlib.suppress(RuntimeError):
                self._self_beside.start()

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        self.send_kept()
        super().shutdown(*args, **kwargs)


class OwnSpanProcessor(BatchSpanProcessor):
    """Sends what was kept when it is flushed, and tells once that spans had to be dropped."""

    def __init__(self, exporter: Any, outages: Outages, **sizes: Any) -> None:
        own: Any = OwnSpanExporter(exporter, outages)
        super().__init__(own, **sizes)
        own.belong_to(self._batch_processor)
        forks.pause_for_forks(self)
        self._own, self._kept = own, own._self_kept
        self._listener = lambda _: outages.overflowed()

    def on_end(self, span: ReadableSpan) -> None:
        before, hush.listener = hush.listener, self._listener
        try:
            super().on_end(span)
            if self._kept:
                self._own.make_room()
        finally:
            hush.listener = before

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        flushed = super().force_flush(timeout_millis)
        self._own.send_kept()
        return flushed

    def pause(self, deadline: float) -> bool:
        return True

    def resume(self) -> None: ...

    def end(self) -> None:
        # Or the SDK would have it live on in the child, which could then never end.
        self._batch_processor._shutdown = True
