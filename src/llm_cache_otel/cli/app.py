"""The command line's commands and their options."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from llm_cache_otel._version import __version__

_FLAG = ""
"""The metavar of an option that takes no value, in place of its type."""


class _Group(TyperGroup):
    def get_help_option(self, ctx: Any) -> Any:
        return _as_flag(super().get_help_option(ctx))


class _Command(TyperCommand):
    def get_help_option(self, ctx: Any) -> Any:
        return _as_flag(super().get_help_option(ctx))


def _as_flag(option: Any) -> Any:
    option.metavar = _FLAG
    return option


app = typer.Typer(
    cls=_Group,
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
        typer.Option(
            "--version",
            metavar=_FLAG,
            callback=_print_version,
            is_eager=True,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Hits, misses and savings of cached LLM calls, over OpenTelemetry."""


@app.command(cls=_Command)
def demo(
    calls: Annotated[
        int,
        typer.Option(
            metavar="INTEGER",
            min=10,
            max=100_000,
            help="How many calls to make, before those that show why calls miss.",
        ),
    ] = 300,
) -> None:
    """Make cached calls of a simulated provider, and show what telemetry arrives.

    Needs no API key and no network. An OTLP receiver of the demo's own takes
    what arrives; or a collector of yours does, at OTEL_EXPORTER_OTLP_ENDPOINT.
    """
    from llm_cache_otel.cli.demo import run_demo

    raise typer.Exit(run_demo(calls))


@app.command(cls=_Command)
def watch(
    *,
    once: Annotated[
        bool,
        typer.Option(
            "--once", metavar=_FLAG, help="Wait for telemetry, print what arrived, and end."
        ),
    ] = False,
    timeout: Annotated[
        int,
        typer.Option(
            metavar="SECONDS",
            min=1,
            help="With --once, how long to wait for telemetry, and then for metrics to follow spans.",
        ),
    ] = 60,
    grpc_port: Annotated[
        int,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Where OTLP comes over gRPC; 0 finds a free port.",
        ),
    ] = 4317,
    http_port: Annotated[
        int,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Where OTLP comes over HTTP; 0 finds a free port.",
        ),
    ] = 4318,
) -> None:
    """Receive what your programs send, and show it live, until Ctrl-C.

    Takes a Collector's place on this machine. Where the output is not a terminal,
    it is printed once, as with --once.
    """
    from llm_cache_otel.cli.watch import run_watch

    raise typer.Exit(
        run_watch(grpc_port=grpc_port, http_port=http_port, once=once, timeout=timeout)
    )


@app.command(cls=_Command)
def simulate_provider(
    port: Annotated[
        int,
        typer.Option(metavar="PORT", min=0, max=65535, help="Where to serve; 0 finds a free port."),
    ] = 8766,
    latency: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, max=60, help="How long an answer takes."),
    ] = 0.3,
    retention: Annotated[
        int,
        typer.Option(
            metavar="SECONDS",
            min=1,
            max=86_400,
            help="How long the prompt cache keeps what nobody reads, unless a request asks for longer.",
        ),
    ] = 300,
) -> None:
    """Serve a simulated provider until Ctrl-C, for experiments without a key.

    It speaks the wire formats of OpenAI, Anthropic, Gemini and Bedrock, and has a
    prompt cache: what is read from it and written to it follows from the requests.
    Answers are made up, to the schema that a request carries.
    """
    from llm_cache_otel.cli.simulate.serve import serve

    raise typer.Exit(serve(port, latency, retention))


@app.command(cls=_Command)
def doctor(
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, max=60, help="How long to wait for an answer."),
    ] = 5.0,
) -> None:
    """Say why nothing arrives: send a test span and metric, and show the answer.

    Run it in your program's environment. Exits with 0 if all that is configured
    was accepted. Shows the names of headers only.
    """
    from llm_cache_otel.cli.doctor import run_doctor

    raise typer.Exit(run_doctor(timeout))
