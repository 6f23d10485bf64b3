"""What is read at collection time: the sizes of caches, and the schemas that are in use."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from llm_cache_otel import forks
from llm_cache_otel.emit import names
from llm_cache_otel.emit.bounded import MOST_VALUES
from llm_cache_otel.guard import Guard
from llm_cache_otel.later import later

Size = tuple[int, int | None]
_PATIENCE = 1.0
"""Seconds that a collection waits for what is to be counted, before it goes without."""

_Labels = tuple[tuple[str, str], ...]


class Inventory:
    """The caches and schemas that a reporter has met. Caches are held weakly; thread-safe."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self._lock = forks.lock()
        self._caches: dict[int, tuple[weakref.ref[object], Callable[[object], Size], _Labels]] = {}
        self._schemas: dict[tuple[str, str], None] = {}
        self._before: list[weakref.WeakMethod[Callable[[], None]]] = []

    def watch_size(
        self,
        cache: object,
        size: Callable[[object], Size],
        backend: str,
        name: str | None,
    ) -> None:
        identity = id(cache)
        known = self._caches.get(identity)
        if known is not None and known[0]() is cache:
            return
        labels = [(names.BACKEND, backend)]
        if name is not None:
            labels.append((names.NAME, name))
        with self._lock:
            self._caches[identity] = (weakref.ref(cache), size, tuple(labels))

    def note_schema(self, response_model: str, digest: str) -> None:
        """Remember a schema in use; of more than 100 the first are kept."""
        schema = (response_model, digest)
        if schema in self._schemas:
            return
        with self._lock:
            if len(self._schemas) < MOST_VALUES:
                self._schemas[schema] = None

    def before_collection(self, work: weakref.WeakMethod[Callable[[], None]]) -> None:
        """Have `work` done whenever metrics are collected, for as long as it lives; it guards itself."""
        with self._lock:
            alive = [known for known in self._before if known() is not None]
            self._before = [*alive, work]

    def prepare(self) -> None:
        """Have done what is to be done before metrics are collected."""
        for reference in self._before:
            work = reference()
            if work is not None:
                work()

    def sizes(self) -> Iterator[tuple[int, _Labels, Size]]:
        """The identity, labels and size of every cache that still lives."""
        with self._lock:
            watched = list(self._caches.items())
        for identity, (reference, size, labels) in watched:
            cache = reference()
            if cache is not None:
                yield identity, labels, size(cache)
                continue
            with self._lock:
                if self._caches.get(identity, (None,))[0] is reference:
                    del self._caches[identity]

    def schemas(self) -> list[tuple[str, str]]:
        with self._lock:
            return list(self._schemas)


class Gauges:
    """Observable gauges of one meter, of all inventories that are reported through it."""

    def __init__(self, meter: Meter) -> None:
        self._inventories: list[Inventory] = []
        # The SDK asks all callbacks before it collects what was counted.
        meter.create_observable_gauge(
            names.ENTRIES, [self._entries], "{entry}", "Entries held by caches of this process."
        )
        meter.create_observable_gauge(
            names.CAPACITY, [self._capacity], "{entry}", "Entries that there is room for."
        )
        meter.create_observable_gauge(
            names.SCHEMA_INFO, [self._schema_info], "1", "Response models' schemas in use."
        )

    def include(self, inventory: Inventory) -> None:
        if all(known is not inventory for known in self._inventories):
            self._inventories.append(inventory)

    def _entries(self, options: CallbackOptions) -> Iterable[Observation]:
        for inventory in self._inventories:
            with inventory.guard("gauges"):
                inventory.prepare()
        later.wait(_PATIENCE)
        return self._sums(0)

    def _capacity(self, options: CallbackOptions) -> Iterable[Observation]:
        return self._sums(1)

    def _sums(self, which: int) -> list[Observation]:
        """Of every cache once, though several reporters may have met it."""
        sums: Counter[_Labels] = Counter()
        counted: set[int] = set()
        for inventory in self._inventories:
            with inventory.guard("gauges"):
                for identity, labels, size in inventory.sizes():
                    value = size[which]
                    if identity not in counted and value is not None:
                        counted.add(identity)
                        sums[labels] += value
        return [Observation(value, dict(labels)) for labels, value in sums.items()]

    def _schema_info(self, options: CallbackOptions) -> Iterable[Observation]:
        schemas: set[tuple[str, str]] = set()
        for inventory in self._inventories:
            with inventory.guard("gauges"):
                schemas.update(inventory.schemas())
        return [
            Observation(1, {names.RESPONSE_MODEL: model, names.SCHEMA_DIGEST: digest})
            for model, digest in sorted(schemas)
        ]
