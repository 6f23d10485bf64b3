"""`llm-cache-otel doctor`: why nothing arrives, or that it does."""

from __future__ import annotations

import logging
import os


def run_doctor(timeout: float) -> int:
    """Examine, report, and return the exit code: 0 if all that is configured was accepted."""
    logging.getLogger().addHandler(logging.NullHandler())  # what is logged is said here in words
    # gRPC reads it when it is first imported, and writes to stderr otherwise.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from llm_cache_otel.cli.doctor.examine import examine

    return examine(timeout)
