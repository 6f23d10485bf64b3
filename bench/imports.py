"""What it takes to import llm-cache-otel where Instructor and the OpenTelemetry SDK are imported already.

Each time in a fresh interpreter, after a first one that compiles. `import instructor` alone imports little
of Instructor, which gets the rest when a client is made; so it is measured over that (`plain`), and over what
a program that makes a client has imported (`client`). The first `instrument` brings the rest of ours, and the
exporters too where the application has no providers (`own`).

As a program it is such an interpreter: `python -m bench.imports BASE`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.process import ROOT, BenchError, environment

TIMES, QUICK_TIMES = 25, 7
BASES = ("plain", "client", "own")

Taken = dict[str, dict[str, list[float | bool]]]
"""By base and by what was measured: the milliseconds of each interpreter, or whether it loaded prices."""


def measure(times: int, one_is_over: Callable[[], object]) -> Taken:
    """The bases take turns."""
    taken: Taken = {base: {} for base in BASES}
    for number in range(times + 1):
        for base in BASES:
            child = subprocess.run(
                [sys.executable, "-m", "bench.imports", base],
                cwd=ROOT,
                env=environment(),
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            if child.returncode:
                raise BenchError("an interpreter that should import failed; it said why above")
            for name, value in json.loads(child.stdout).items():
                if number:
                    taken[base].setdefault(name, []).append(value)
        one_is_over()
    return taken


def _import(what: str) -> dict[str, Any]:
    start = time.perf_counter()
    import instructor
    import opentelemetry.sdk.metrics.export
    import opentelemetry.sdk.trace.export

    if what != "plain":
        import openai
        from instructor.cache import AutoCache

        _ = instructor.from_openai, openai.OpenAI, AutoCache

    base = time.perf_counter()
    import llm_cache_otel

    ours = time.perf_counter()
    prices = "genai_prices" in sys.modules
    import openai
    from instructor.cache import AutoCache

    tracers = opentelemetry.sdk.trace.TracerProvider()
    meters = opentelemetry.sdk.metrics.MeterProvider()
    client = instructor.from_openai(openai.OpenAI(api_key="none"), cache=AutoCache())
    given: dict[str, Any] = (
        {} if what == "own" else {"tracer_provider": tracers, "meter_provider": meters}
    )
    before = time.perf_counter()
    llm_cache_otel.instrument(client, **given)
    after = time.perf_counter()
    return {
        "base": round((base - start) * 1e3, 2),
        "ours": round((ours - base) * 1e3, 2),
        "instrument": round((after - before) * 1e3, 2),
        "prices": prices,
    }


if __name__ == "__main__":
    print(json.dumps(_import(sys.argv[1])), flush=True)
    os._exit(0)  # or a pipeline of our own would wait for a Collector
