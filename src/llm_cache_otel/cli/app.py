"""The command line's commands and their options."""

from __future__ import annotations

from typing import Annotated

import typer

from llm_cache_otel._version import __version__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def llm_cache_otel(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Hits, misses and savings of cached LLM calls, over OpenTelemetry."""


@app.command()
def demo(
    calls: Annotated[int, typer.Option(min=10, max=100_000, help="How many calls to make.")] = 300,
) -> None:
    """Make cached calls of a simulated provider, and show what telemetry arrives.

    Needs no API key and no network. An OTLP receiver of the demo's own takes
    what arrives; or a collector of yours does, at OTEL_EXPORTER_OTLP_ENDPOINT.
    """
    from llm_cache_otel.cli.demo import run_demo

    raise typer.Exit(run_demo(calls))
