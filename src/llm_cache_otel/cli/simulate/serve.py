"""`llm-cache-otel simulate-provider`."""

from __future__ import annotations

import signal
import sys
import threading

from rich import box
from rich.console import Console
from rich.table import Table

from llm_cache_otel.cli.simulate.ledger import Ledger
from llm_cache_otel.cli.simulate.server import SimulatedProvider


def serve(port: int, latency: float, retention: float) -> int:
    """Serve until an interrupt, then show what was asked. Returns the exit code."""
    console = Console(highlight=False)
    try:
        provider = SimulatedProvider(latency=latency, port=port, retention=retention)
    except OSError:
        print(
            f"Port {port} is taken. --port=0 finds a free one.",
            file=sys.stderr,
        )
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with provider:
        _introduce(console, provider)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            console.print()
    _show(console, provider.ledger)
    return 0  # an interrupt is how it ends


def _introduce(console: Console, provider: SimulatedProvider) -> None:
    console.print(f"A simulated provider answers on {provider.url}, until Ctrl-C.")
    console.print("Its values are made up. In the terminal of your program, set what that reads:")
    for line in (
        f"export OPENAI_BASE_URL={provider.openai_url} OPENAI_API_KEY=simulated",
        f"export ANTHROPIC_BASE_URL={provider.url} ANTHROPIC_API_KEY=simulated",
        f"export GOOGLE_GEMINI_BASE_URL={provider.url} GEMINI_API_KEY=simulated",
        f"export AWS_ENDPOINT_URL_BEDROCK_RUNTIME={provider.url}",
        "export AWS_ACCESS_KEY_ID=simulated AWS_SECRET_ACCESS_KEY=simulated",
        "export AWS_DEFAULT_REGION=us-east-1",
        f"export AZURE_OPENAI_ENDPOINT={provider.url}",
        "export AZURE_OPENAI_API_KEY=simulated",
    ):
        console.print(f"    {line}", markup=False, soft_wrap=True)


def _show(console: Console, ledger: Ledger) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title="tokens")
    kinds = ("plain", "read", "write_5m", "write_1h", "output")
    for column in ("", "answers", *(kind.replace("_", " ") for kind in kinds)):
        table.add_column(column, justify="right" if column else "left", overflow="fold")
    for model, count in ledger.answers.items():
        tokens = ledger.tokens[model]
        table.add_row(model, f"{count:,}", *(f"{tokens[kind]:,}" for kind in kinds))
    console.print(table if ledger.answers else "Nothing was asked.")
