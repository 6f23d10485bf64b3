"""The commands: `llm-cache-otel demo`, `watch` and `doctor`.

They need the extra `cli`; importing this module does not.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

_NEEDED = ("diskcache", "grpc", "rich", "starlette", "typer", "uvicorn")


def main() -> None:
    """Run the command line; exits with code 2 where the extra `cli` is not installed."""
    missing = [module for module in _NEEDED if find_spec(module) is None]
    if missing:
        print(
            f"llm-cache-otel: the commands need {', '.join(missing)} as well. "
            "Get everything with, from the clone: pip install -c constraints.txt '.[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)

    from llm_cache_otel.cli.app import app

    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")  # not every terminal has a µ
    app()
