"""Which versions of what matters are installed."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_NEEDED = (
    *("llm-cache-otel", "instructor", "opentelemetry-api", "opentelemetry-sdk", "genai-prices"),
)
_EXPORTERS = ("opentelemetry-exporter-otlp-proto-grpc", "opentelemetry-exporter-otlp-proto-http")
_MORE = ("grpcio", "requests", "opentelemetry-configuration", "opentelemetry-distro")
_PROVIDERS = (
    *("openai", "anthropic", "google-genai", "boto3", "litellm", "mistralai", "cohere", "groq"),
)


def versions() -> dict[str, str]:
    """By name; empty for what is needed and not installed."""
    found = {"Python": platform.python_version()}
    for package in (*_NEEDED, *_EXPORTERS, *_MORE, *_PROVIDERS):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            if package in {*_NEEDED, *_EXPORTERS}:
                found[package] = ""
    return found
