"""A private OTLP pipeline, for programs that set up no OpenTelemetry of their own.

Built from the standard `OTEL_*` variables, through the SDK's and the exporters' own reading of them.
It never sets a global.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk import _configuration as configuration
from opentelemetry.sdk.metrics import MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import (
    _DEFAULT_RESOURCE,
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

from llm_cache_otel.emit.log import Notes
from llm_cache_otel.emit.pipeline.config_file import ConfigFile
from llm_cache_otel.emit.pipeline.exporters import exporters, import_exporters
from llm_cache_otel.emit.pipeline.fallbacks import (
    batch_arguments,
    limit_arguments,
    reader_arguments,
)
from llm_cache_otel.emit.pipeline.outages import Outages
from llm_cache_otel.emit.pipeline.own_metrics import OwnMetricExporter
from llm_cache_otel.emit.pipeline.own_spans import OwnSpanProcessor
from llm_cache_otel.outside import is_the_hosts

__all__ = ["Pipeline", "import_exporters"]

_NOWHERE = NoOpMeterProvider()
"""For the SDK's metrics of itself: it would look for a global, and a variable can make that set one."""


# What the SDK would do in a forked child, where threads that it starts anew could keep the child from
# ending: there, these are a parent's.


class _OwnTracerProvider(TracerProvider):
    def _handle_fork(self) -> None: ...


class _OwnMeterProvider(MeterProvider):
    def _handle_fork(self) -> None: ...


class _OwnReader(PeriodicExportingMetricReader):
    def _at_fork_reinit(self) -> None: ...


class Pipeline:
    """Builds the providers of one process, with something else for the variables that are `bad`.

    A provider is described by `resource`, or as the variables say where that is `None`. It is `None`
    itself where there is nothing to export to.
    """

    def __init__(self, bad: AbstractSet[str]) -> None:
        self.outages = Outages()
        self._bad = bad
        self._instance = str(uuid.uuid4())

    def tracer_provider(self, resource: Resource | None, notes: Notes) -> TracerProvider | None:
        """Spans in batches to the exporters of `OTEL_TRACES_EXPORTER`, by default OTLP."""
        built: TracerProvider | None
        built = self._build(ConfigFile.tracer_provider, _tracer_provider, resource, notes)
        return built

    def meter_provider(self, resource: Resource | None, notes: Notes) -> MeterProvider | None:
        """Metrics at intervals to the exporters of `OTEL_METRICS_EXPORTER`, by default OTLP."""
        built: MeterProvider | None
        built = self._build(ConfigFile.meter_provider, _meter_provider, resource, notes)
        return built

    def _build(
        self,
        from_file: Callable[[ConfigFile, Resource, Outages], Any],
        from_variables: Callable[[Resource, Outages, AbstractSet[str]], Any],
        resource: Resource | None,
        notes: Notes,
    ) -> Any:
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return None
        own = resource and self._as_instance(resource, given=False)
        path = os.environ.get("OTEL_CONFIG_FILE")
        if path and "OTEL_CONFIG_FILE" not in self._bad:
            try:
                file = ConfigFile(path)
                described = own or self._as_instance(file.resource(), given=True)
                return from_file(file, described, self.outages)
            except Exception as error:
                if is_the_hosts(error):
                    raise
                notes.warn_once(
                    "OTEL_CONFIG_FILE",
                    f"OTEL_CONFIG_FILE can't be used ({type(error).__qualname__}). Using the other "
                    "variables.",
                )
        described = own or self._as_instance(_resource(), given=True)
        return from_variables(described, self.outages, self._bad)

    def _as_instance(self, resource: Resource, *, given: bool) -> Resource:
        """`resource` with a `service.instance.id` that no other process has.

        One that is not `given` is the application's own, of this process. One that a user gave was given to
        all processes alike, where the semantic conventions want an application server's to be told apart:
        their counters would overwrite each other.
        """
        known = resource.attributes.get(SERVICE_INSTANCE_ID)
        if known is not None and not given:
            return resource
        unique = self._instance if known is None else f"{known}-{os.getpid()}"
        return resource.merge(Resource({SERVICE_INSTANCE_ID: unique}))


def _resource() -> Resource:
    """As the variables say."""
    try:
        return Resource.create()
    except (
        RuntimeError
    ):  # the main thread has ended: no thread pool, in which it detects, starts any more
        resource = _DEFAULT_RESOURCE.merge(OTELResourceDetector().detect())
        return Resource({SERVICE_NAME: "unknown_service"}).merge(resource)


def _tracer_provider(
    resource: Resource, outages: Outages, bad: AbstractSet[str]
) -> TracerProvider | None:
    made = list(exporters("traces", bad))
    if not made:
        return None
    sampler = (configuration._get_sampler() or "").strip().lower()
    ids = configuration._get_id_generator()
    provider = _OwnTracerProvider(
        resource=resource,
        shutdown_on_exit=False,
        sampler=_unless(
            "OTEL_TRACES_SAMPLER" in bad, lambda: configuration._import_sampler(sampler)
        ),
        id_generator=_unless(
            "OTEL_PYTHON_ID_GENERATOR" in bad, lambda: configuration._import_id_generator(ids)
        ),
        span_limits=SpanLimits(**limit_arguments(bad, SpanLimits.UNSET)),
        meter_provider=_NOWHERE,
    )
    for exporter in made:
        sizes = batch_arguments(bad)
        processor = OwnSpanProcessor(exporter, outages, meter_provider=_NOWHERE, **sizes)
        provider.add_span_processor(processor)
    return provider


def _meter_provider(
    resource: Resource, outages: Outages, bad: AbstractSet[str]
) -> MeterProvider | None:
    made = list(exporters("metrics", bad))
    if not made:
        return None
    readers: list[MetricReader] = []
    for exporter in made:
        own: Any = OwnMetricExporter(exporter, outages)
        # Some are pulled from, and are readers themselves.
        pulled = isinstance(exporter, MetricReader)
        times = reader_arguments(bad)
        readers.append(exporter if pulled else _OwnReader(own, **times))
    default_filter = TraceBasedExemplarFilter() if "OTEL_METRICS_EXEMPLAR_FILTER" in bad else None
    return _OwnMeterProvider(
        readers, resource=resource, exemplar_filter=default_filter, shutdown_on_exit=False
    )


def _unless(bad: bool, read: Callable[[], Any]) -> Any:  # noqa: FBT001
    return None if bad else read()
