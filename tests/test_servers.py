"""Application servers, as they are really run: every call that any worker served arrives, once."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest
from support.books import Books
from support.caller import read_tally
from support.programs import ended, environment, run, start_module

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider

REQUESTS = 100

LOAD = """
import sys
from concurrent.futures import ThreadPoolExecutor
import httpx

url, requests = sys.argv[1], int(sys.argv[2])
# A server says where it runs before it listens there.
transport = httpx.HTTPTransport(retries=8, limits=httpx.Limits(max_keepalive_connections=0))
with httpx.Client(transport=transport, timeout=60) as client:

    def get(number):
        assert client.get(f"{url}/{number % 40}").text == "served"

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(get, range(requests)))
"""

GUNICORN = ["gunicorn", "support.served:wsgi", "--bind", "127.0.0.1:0", "--workers", "2"]
RECYCLED = ["--max-requests", "20", "--max-requests-jitter", "5"]
UVICORN = ["uvicorn", "support.served:asgi", "--port", "0", "--no-access-log"]


def serve_and_load(
    server: list[str], variables: dict[str, str], ends_by: signal.Signals
) -> subprocess.Popen[str]:
    """Run a server, have it serve, end it; gives it once it has ended."""
    process = start_module(*server, variables=variables)
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            break
    else:
        raise AssertionError(f"{server} did not start")
    try:
        run(LOAD, variables, found[0], REQUESTS)
    finally:
        process.send_signal(ends_by)
        _, errors = ended(process)
    assert "Traceback" not in errors, errors
    return process


@pytest.mark.parametrize(
    ("options", "protocol"),
    [
        ([], "grpc"),
        (["--preload"], "http/protobuf"),
        (["--preload", "--worker-class", "gthread", "--threads", "4"], "grpc"),
    ],
    ids=str,
)
def test_gunicorn(
    options: list[str],
    protocol: str,
    provider: SimulatedProvider,
    receiver: OtlpReceiver,
    tmp_path: Path,
) -> None:
    books = Books(provider, receiver, tmp_path)
    quick = {"OTEL_BSP_SCHEDULE_DELAY": 50, "OTEL_METRIC_EXPORT_INTERVAL": 100}
    variables = environment(provider, receiver, protocol, **quick, TALLY=books.tally)
    server = serve_and_load([*GUNICORN, *RECYCLED, *options], variables, signal.SIGTERM)
    assert server.returncode == 0
    served = read_tally(books.tally)
    assert len({process for _, process in served}) > 4, "workers were not recycled"
    assert sum(served.values()) >= REQUESTS
    books.check()


@pytest.mark.parametrize(
    ("options", "ends_by", "flushes"),
    [
        # It dies of the signal once it has shut down, so that no exit handler runs.
        (["--workers", "2"], signal.SIGTERM, {"FLUSH": 1}),
        ([], signal.SIGTERM, {"FLUSH": 1}),
        ([], signal.SIGINT, {"FLUSH": 1}),
        # Ctrl-C is an exception, and the interpreter exits normally.
        ([], signal.SIGINT, {}),
    ],
    ids=str,
)
def test_uvicorn(
    options: list[str],
    ends_by: signal.Signals,
    flushes: dict[str, int],
    provider: SimulatedProvider,
    receiver: OtlpReceiver,
    tmp_path: Path,
) -> None:
    books = Books(provider, receiver, tmp_path)
    variables = environment(provider, receiver, **flushes, TALLY=books.tally)
    serve_and_load([*UVICORN, *options], variables, ends_by)
    assert sum(read_tally(books.tally).values()) >= REQUESTS
    books.check()
