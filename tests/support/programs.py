"""Programs that tests run in processes of their own, and what their environment is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider
from support.troubled import TroubledCollector

TESTS = Path(__file__).parents[1]
PROTOCOLS = ["grpc", "http/protobuf"]


def environment(
    provider: SimulatedProvider,
    receiver: OtlpReceiver | TroubledCollector | None = None,
    protocol: str = "grpc",
    **variables: object,
) -> dict[str, str]:
    """This process's, but for its `OTEL_*` and proxies; with `receiver`, where telemetry is sent."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "LLM_CACHE_OTEL_")) and not name.lower().endswith("_proxy")
    }
    kept |= {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": provider.openai_url, "NO_PROXY": "*"}
    # Programs import what is here; and where one hangs, `output_of` shows where.
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    kept |= {"PYTHONPATH": path, "PYTHONFAULTHANDLER": "1"}
    if isinstance(receiver, TroubledCollector):
        protocol, endpoint = receiver.protocol, receiver.endpoint
    elif receiver is not None:
        over_http = protocol == "http/protobuf"
        endpoint = receiver.http_endpoint if over_http else receiver.grpc_endpoint
    if receiver is not None:
        kept["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol
        kept["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    return kept | {name: str(value) for name, value in variables.items()}


def start(program: str, variables: dict[str, str], *arguments: object) -> subprocess.Popen[str]:
    """Start Python code. It waits where it has written more than a pipe holds (64 KiB) before `ended`."""
    return _start("-c", textwrap.dedent(program), *map(str, arguments), variables=variables)


def start_module(*arguments: str, variables: dict[str, str]) -> subprocess.Popen[str]:
    """Start what `python -m` does."""
    return _start("-m", *arguments, variables=variables)


def _start(*arguments: str, variables: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], timeout: float = 240) -> tuple[str, str]:
    """What it wrote to stdout and stderr, once it and every process it made has ended."""
    try:
        return process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGABRT)  # each writes where its threads are
        out, errors = process.communicate()
        raise AssertionError(f"it hangs\n{out}\n{errors}") from None


def output_of(process: subprocess.Popen[str], timeout: float = 240) -> tuple[str, str]:
    """What it wrote to stdout and stderr, once it has ended well."""
    out, errors = ended(process, timeout)
    assert process.returncode == 0, errors
    return out, errors


def run(program: str, variables: dict[str, str], *arguments: object) -> tuple[str, str]:
    """What a program wrote to stdout and stderr."""
    return output_of(start(program, variables, *arguments))


def unmeasured(variables: dict[str, str]) -> dict[str, str]:
    """Without coverage, whose own lock a child that is forked may find held, and whose data grows."""
    return {name: value for name, value in variables.items() if not name.startswith("COVERAGE")}
