"""Where the demo's telemetry goes: to a collector of the user's, or to a receiver of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SERVICE_NAME = "llm-cache-otel-demo"

_LOOPBACK = "127.0.0.1,localhost"
_KEPT = ("OTEL_EXPORTER_OTLP_", "OTEL_PYTHON_EXPORTER_OTLP_", "OTEL_RESOURCE_ATTRIBUTES")


@dataclass(frozen=True)
class Destination:
    """The user's own endpoints, as `OTEL_*` variables have them; `None` for a signal not sent."""

    traces: str | None
    metrics: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Destination | None:
        """`None` where the user has named no endpoint, or switched off what has one."""
        destination = cls(_endpoint(environment, "TRACES"), _endpoint(environment, "METRICS"))
        return destination if destination.traces or destination.metrics else None

    @property
    def endpoints(self) -> str:
        return " and ".join(dict.fromkeys(filter(None, (self.traces, self.metrics))))

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """For processes that send there: how, the user has said; what, is the demo's to say."""
        signals = {"TRACES": self.traces, "METRICS": self.metrics}
        return {
            **{name: value for name, value in environment.items() if _is_kept(name)},
            **_without_proxy(environment),
            **{
                f"OTEL_{signal}_EXPORTER": "otlp" if endpoint else "none"
                for signal, endpoint in signals.items()
            },
            "OTEL_SERVICE_NAME": SERVICE_NAME,
        }


def _endpoint(environment: Mapping[str, str], signal: str) -> str | None:
    if environment.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none":
        return None
    names = (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    found = (environment.get(name, "").strip() for name in names)
    return next((endpoint for endpoint in found if endpoint), None)


def _is_kept(name: str) -> bool:
    return not name.startswith("OTEL_") or name.startswith(_KEPT)


def _without_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """The simulated provider is on this machine, whatever proxy leads to the collector."""
    names = ("NO_PROXY", "no_proxy")
    given = [environment[name] for name in names if environment.get(name)]
    return dict.fromkeys(names, ",".join([*given, _LOOPBACK]))


def receiver_environment(environment: Mapping[str, str], endpoint: str) -> dict[str, str]:
    """For processes that send over gRPC to a receiver on this machine, whatever else is set."""
    return {
        **{
            name: value
            for name, value in environment.items()
            if not name.startswith(("OTEL_", "LLM_CACHE_OTEL_"))
            and not name.lower().endswith("_proxy")
        },
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_SERVICE_NAME": SERVICE_NAME,
    }
