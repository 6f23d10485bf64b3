"""What is read at collection time: the sizes of caches, and the schemas that are in use."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from llm_cache_otel.emit import names
from llm_cache_otel.emit.bounded import MOST_VALUES
from llm_cache_otel.guard import Guard

Size = tuple[int, int]
_Labels = tuple[tuple[str, str], ...]


class Gauges:
    """Observable gauges of one meter. Caches are held weakly, each counted once; thread-safe."""

    def __init__(self, meter: Meter, guard: Guard) -> None:
        self._guard = guard
        self._lock = threading.Lock()
        self._caches: dict[int, tuple[weakref.ref[object], Callable[[object], Size], _Labels]] = {}
        self._schemas: dict[tuple[str, str], None] = {}
        meter.create_observable_gauge(
            names.ENTRIES, [self._entries], "{entry}", "Entries held by caches of this process."
        )
        meter.create_observable_gauge(
            names.CAPACITY, [self._capacity], "{entry}", "Entries that there is room for."
        )
        meter.create_observable_gauge(
            names.SCHEMA_INFO, [self._schema_info], "1", "Response models' schemas in use."
        )

    def watch_size(
        self,
        cache: weakref.ref[object],
        size: Callable[[object], Size],
        backend: str,
        name: str | None,
    ) -> None:
        identity = id(cache())
        known = self._caches.get(identity)
        if known is not None and known[0]() is cache():
            return
        labels = [(names.BACKEND, backend)]
        if name is not None:
            labels.append((names.NAME, name))
        with self._lock:
            self._caches[identity] = (cache, size, tuple(labels))

    def note_schema(self, response_model: str, digest: str) -> None:
        """Remember a schema in use; of more than 100 the first are kept."""
        schema = (response_model, digest)
        if schema in self._schemas:
            return
        with self._lock:
            if len(self._schemas) < MOST_VALUES:
                self._schemas[schema] = None

    def _entries(self, options: CallbackOptions) -> Iterable[Observation]:
        with self._guard("gauges"):
            return self._sums(0)
        return []

    def _capacity(self, options: CallbackOptions) -> Iterable[Observation]:
        with self._guard("gauges"):
            return self._sums(1)
        return []

    def _schema_info(self, options: CallbackOptions) -> Iterable[Observation]:
        with self._guard("gauges"):
            return self._schemas_in_use()
        return []

    def _sums(self, which: int) -> list[Observation]:
        sums: Counter[_Labels] = Counter()
        with self._lock:
            watched = list(self._caches.items())
        for identity, (reference, size, labels) in watched:
            cache = reference()
            if cache is None:
                with self._lock:
                    if self._caches.get(identity, (None,))[0] is reference:
                        del self._caches[identity]
            else:
                sums[labels] += size(cache)[which]
        return [Observation(value, dict(labels)) for labels, value in sums.items()]

    def _schemas_in_use(self) -> list[Observation]:
        with self._lock:
            schemas = list(self._schemas)
        return [
            Observation(1, {names.RESPONSE_MODEL: model, names.SCHEMA_DIGEST: digest})
            for model, digest in schemas
        ]
