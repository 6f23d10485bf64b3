"""The process of one contender, or several: measures a round whenever the parent asks for one.

Started as `python -m bench.worker CONTENDERS [LOAD]`. Says how long the first one's calls took
when it is ready; after that every line of JSON that comes in (`{"contender": "bare", "case": "hit", "calls":
240}`) is answered by one (`{"wall": …, "cpu": …}`, seconds per call). Anything unexpected ends it with a
traceback.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.contenders import SET_UPS, Contender
from bench.load import Load, fill
from bench.telemetry import Exported
from bench.workload import ANSWER, Case, Messages, Provider, Ticket, ask, ask_async, messages

_STORED = 40
_WARM_HITS = 200
_WARM_MISSES = 10
_NAMESPACE = {"cache_namespace": f"bench-{os.getpid()}"}  # all clients', and nobody else's


class Measurer:
    """A contender at work. Once made it is warm, and the prompts of hits are stored.

    Without a load it has stored them itself.
    """

    def __init__(self, contender: Contender, load: Load | None) -> None:
        self._contender = contender
        self._load = load or Load()
        self._more = _NAMESPACE if load else {}
        self._provider = Provider()
        self._exported = Exported()
        cache = self._load.cache()
        kind = self._provider.async_client if self._load.tasks else self._provider.client
        make, self._to_flush = contender.set_up(kind, self._exported)
        self._clients = [make(cache) for _ in range(self._load.clients)]
        self._ask_all = self._way()
        self._unused = itertools.count(10_000_000)
        self._next_hit = 0
        self._keys = self._load.keys
        if load:
            fill(cache, self._keys, lambda number: self._ask_all([self._prompt(number)]))
        else:
            self._ask_all([self._prompt(number) for number in range(self._keys)])
        self._ask_all([self._prompt(next(self._unused)) for _ in range(self._load.missed)])
        miss = self._seconds("miss", _WARM_MISSES) if load else 0.0
        few = 0.5 / max(
            self._seconds("hit", 2), 1e-9
        )  # half a second of large prompts is warm enough
        hit = self._seconds("hit", max(2, min(_WARM_HITS, int(few))))
        self.warm = {"hit": hit, "miss": miss}
        self._flush()
        # What was made so far stays: a full collection within a round need not look at it again.
        gc.collect()
        gc.freeze()

    def measure(self, case: Case, calls: int) -> dict[str, float]:
        """Wall and CPU seconds per call of one round, once it is certain what the calls did.

        The collector stays on, because work that leaves garbage behind should pay for it, but every
        round begins with none.
        """
        prompts = self._prompts(case, calls)
        requests, spans = self._provider.requests, self._exported.spans.copy()
        outcomes = self._exported.outcomes.copy()
        gc.collect()
        cpu = time.process_time()
        wall = time.perf_counter()
        answer = self._ask_all(prompts)
        wall = time.perf_counter() - wall
        self._flush()
        cpu = time.process_time() - cpu
        self._check("answer", answer.model_dump(), ANSWER.model_dump())
        asked = self._provider.requests - requests
        self._check("requests to the provider", asked, calls if case == "miss" else 0)
        names = self._contender.spans[case]
        if case == "hit" and self._load.store != "memory":
            names += self._contender.not_in_memory
        wanted = Counter(dict.fromkeys(names, calls))
        self._check("exported spans", self._exported.spans - spans, wanted)
        wanted = Counter({case: calls} if self._contender.counts_outcomes else {})
        self._check("counted outcomes", self._exported.outcomes - outcomes, wanted)
        return {"wall": wall / calls, "cpu": cpu / calls}

    def _way(self) -> Callable[[Sequence[Messages]], Ticket]:
        """How the calls of a round are spread over clients, threads and tasks."""
        clients, more = self._clients, self._more

        def one_by_one(prompts: Sequence[Messages]) -> Ticket:
            answer = ANSWER
            for prompt, client in zip(prompts, itertools.cycle(clients), strict=False):
                answer = ask(client, prompt, **more)
            return answer

        async def awaited(prompts: Sequence[Messages]) -> Ticket:
            answer = ANSWER
            for prompt, client in zip(prompts, itertools.cycle(clients), strict=False):
                answer = await ask_async(client, prompt, **more)
            return answer

        async def gathered(prompts: Sequence[Messages]) -> Ticket:
            answers = await asyncio.gather(*map(awaited, _dealt(prompts, self._load.tasks)))
            return answers[0]

        if self._load.tasks:
            runner = asyncio.Runner()
            return lambda prompts: runner.run(gathered(prompts))
        if self._load.threads == 1:
            return one_by_one
        pool = ThreadPoolExecutor(self._load.threads)

        def side_by_side(prompts: Sequence[Messages]) -> Ticket:
            answers = list(pool.map(one_by_one, _dealt(prompts, self._load.threads)))
            return answers[0]

        return side_by_side

    def _prompt(self, number: int) -> Messages:
        return messages(number, self._load.prompt)

    def _prompts(self, case: Case, calls: int) -> list[Messages]:
        if case == "miss":
            return [self._prompt(next(self._unused)) for _ in range(calls)]
        stride = max(
            1, self._keys // 64 | 1
        )  # so that a round's hits are of entries from everywhere
        first, self._next_hit = self._next_hit, self._next_hit + calls
        return [self._prompt(n * stride % self._keys) for n in range(first, first + calls)]

    def _seconds(self, case: Case, calls: int) -> float:
        prompts = self._prompts(case, calls)
        start = time.perf_counter()
        self._ask_all(prompts)
        return (time.perf_counter() - start) / calls

    def _flush(self) -> None:
        for provider in self._to_flush:
            provider.force_flush()

    @staticmethod
    def _check(what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise RuntimeError(f"a round is void: {what} should be {wanted!r}, found {found!r}")


def _dealt(prompts: Sequence[Messages], hands: int) -> list[Sequence[Messages]]:
    return [prompts[n::hands] for n in range(hands)]


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    logging.getLogger("llm_cache_otel").setLevel(logging.ERROR)  # its advice on these prompts
    load: Any = Load(**json.loads(sys.argv[2])) if len(sys.argv) > 2 else None
    measurers = {name: Measurer(SET_UPS[name], load) for name in json.loads(sys.argv[1])}
    warm = next(iter(measurers.values())).warm
    print(json.dumps(warm), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        measured = measurers[asked["contender"]].measure(asked["case"], asked["calls"])
        print(json.dumps(measured), file=answers, flush=True)


if __name__ == "__main__":
    main()
