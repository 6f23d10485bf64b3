"""The only code that touches OpenTelemetry. `names.py` holds every name of the contract."""
