"""The real programs, run on this machine with the files of `collector-config/`."""

from e2e.stack.backends import Jaeger, Prometheus, alertmanager, redis
from e2e.stack.collector import CONFIG, Collector
from e2e.stack.finding import Missing
from e2e.stack.server import Server, free_port
from e2e.stack.whole import Stack

__all__ = [
    "CONFIG",
    "Collector",
    "Jaeger",
    "Missing",
    "Prometheus",
    "Server",
    "Stack",
    "alertmanager",
    "free_port",
    "redis",
]
