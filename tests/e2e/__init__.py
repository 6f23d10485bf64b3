"""Tests with the real Collector, Jaeger, Prometheus, Alertmanager and Redis: `make e2e`."""
