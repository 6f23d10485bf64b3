"""Private providers from a declarative configuration file (`OTEL_CONFIG_FILE`).

The package `opentelemetry-configuration` reads it. Its own entry point sets globals, so what it makes of
the parts is used instead; it is experimental, and may change with any of its versions.
"""

from __future__ import annotations

import atexit
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from llm_cache_otel.emit.pipeline.outages import Outages
from llm_cache_otel.emit.pipeline.own_exporter import OwnExporter
from llm_cache_otel.emit.pipeline.own_metrics import OwnMetricExporter
from llm_cache_otel.emit.pipeline.own_spans import OwnSpanExporter


class ConfigFile:
    """One file, read.

    Raises:
        ImportError: `opentelemetry-configuration` is not installed.
        Exception: whatever it raises of a file that it can't use.
    """

    def __init__(self, path: str) -> None:
        from opentelemetry.configuration import load_config_file

        self._config: Any = load_config_file(path)

    def resource(self) -> Resource:
        from opentelemetry.configuration._resource import create_resource

        return create_resource(self._config.resource)

    def tracer_provider(self, resource: Resource, outages: Outages) -> TracerProvider | None:
        """`None` where the file has none, or disables the SDK."""
        from opentelemetry.configuration._tracer_provider import create_tracer_provider

        config = self._config
        if config.disabled or config.tracer_provider is None:
            return None
        provider = create_tracer_provider(config.tracer_provider, resource, config.attribute_limits)
        processor: Any
        for processor in provider._active_span_processor._span_processors:
            batches = getattr(processor, "_batch_processor", None)
            if batches is None:
                processor.span_exporter = OwnExporter(processor.span_exporter, "traces", outages)
            else:
                batches._exporter = OwnSpanExporter(batches._exporter, outages)
                batches._exporter.belong_to(batches)
        _leave_exit_to_us(provider)
        return provider

    def meter_provider(self, resource: Resource, outages: Outages) -> MeterProvider | None:
        """`None` where the file has none, or disables the SDK."""
        from opentelemetry.configuration._meter_provider import create_meter_provider

        config = self._config
        if config.disabled or config.meter_provider is None:
            return None
        provider = create_meter_provider(config.meter_provider, resource)
        for reader in provider._metric_readers:
            if hasattr(reader, "_exporter"):
                reader._exporter = OwnMetricExporter(reader._exporter, outages)
        _leave_exit_to_us(provider)
        return provider


def _leave_exit_to_us(provider: TracerProvider | MeterProvider) -> None:
    atexit.unregister(provider.shutdown)  # which would wait for many seconds
