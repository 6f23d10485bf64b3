"""Memory of a process that is watched, over that of one that is not, while both make the same calls.

The calls are as small as they can be, of 100,000 prompts one after the other, again and again: a miss
the first time, which stores its answer, and hits from then on. Both processes have imported Instructor,
the OpenTelemetry SDK and what encodes OTLP, but only the watched one llm-cache-otel. They run at the
same time, which halves the hour that it takes. What a call takes is told as well, for here both have
missed every key themselves.

As a program it is one of them: `python -m bench.memory CONTENDER`.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.names import BARE, OURS
from bench.process import Worker

CALLS, QUICK_CALLS = 1_000_000, 10_000
_SHARES = (0.01, 0.02, 0.05, 0.075, *(n / 20 for n in range(2, 21)))


def measure(calls: int, sample_is_taken: Callable[[], object]) -> dict[str, Any]:
    """Of both the memory in bytes, and the time that a call took since the sample before, in µs."""
    keys = max(calls // 10, 1)
    taken: dict[str, Any] = {BARE: [], OURS: []}
    with Worker(BARE, "bench.memory", BARE) as bare, Worker(OURS, "bench.memory", OURS) as ours:
        workers = {BARE: bare, OURS: ours}
        made = 0
        begin = {name: worker.answer() for name, worker in workers.items()}
        for made in sorted({max(1, round(share * calls)) for share in _SHARES}):
            for worker in workers.values():
                worker.tell(upto=made, keys=keys)
            for name, worker in workers.items():
                taken[name].append({"calls": made, **worker.answer()})
            sample_is_taken()
    return {"calls": made, "keys": keys, "begin": begin, "samples": taken}


def samples(calls: int) -> int:
    return len({max(1, round(share * calls)) for share in _SHARES})


def _held() -> tuple[int, str]:
    """What the process has for itself alone, in bytes; where the system does not tell, its peak."""
    try:
        with open("/proc/self/smaps_rollup", encoding="ascii") as file:  # noqa: PTH123
            lines = [line.split() for line in file if line.startswith("Private_")]
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "peak RSS"
    return sum(int(line[1]) for line in lines) * 1024, "USS"


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    logging.getLogger("llm_cache_otel").setLevel(logging.ERROR)  # its advice on these prompts
    from instructor.cache import AutoCache
    from pydantic import BaseModel

    from bench.workload import MODEL, Provider

    class Word(BaseModel):
        text: str

    without_opentelemetry, _ = _held()
    from bench.telemetry import Exported

    exported = Exported()
    to_flush: tuple[Any, ...] = ()
    client = Provider(Word(text="yes")).client(AutoCache(maxsize=10_000_000))
    tracers, meters = exported.tracer_provider(), exported.meter_provider()
    if sys.argv[1] == OURS:
        from llm_cache_otel import instrument

        to_flush = (tracers, meters)
        client = instrument(client, tracer_provider=tracers, meter_provider=meters)
    assert (sys.argv[1] == OURS) == ("llm_cache_otel" in sys.modules)
    gc.collect()
    held, kind = _held()
    ready = {"bytes": held, "without_opentelemetry": without_opentelemetry, "kind": kind}
    print(json.dumps(ready), file=answers, flush=True)
    made = 0
    for line in sys.stdin:
        asked = json.loads(line)
        upto, keys = asked["upto"], asked["keys"]
        wall, cpu = time.perf_counter(), time.process_time()
        for number in range(made, upto):
            prompt: Any = [{"role": "user", "content": str(number % keys)}]
            client.create(model=MODEL, response_model=Word, messages=prompt)
        wall = time.perf_counter() - wall
        for provider in to_flush:
            provider.force_flush()
        cpu = time.process_time() - cpu
        gc.collect()
        calls, made = upto - made, upto
        answer = {
            "bytes": _held()[0],
            "wall": round(wall / calls * 1e6, 1),
            "cpu": round(cpu / calls * 1e6, 1),
            "spans": exported.spans.total(),
        }
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
