"""The process of a contender: measures a round of its calls and bare Instructor's whenever the parent asks.

Started as `python -m bench.worker CONTENDER [LOAD]`. Says how long bare Instructor's calls took when it is
ready; after that every line of JSON that comes in (the arguments of `Pair.measure`) is answered
by one (`{"bare": {"wall": …, "cpu": …}, "own": {…}}`, seconds per call). Anything unexpected ends it with a
traceback.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import logging
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.contenders import SET_UPS, Contender
from bench.load import Load, fill
from bench.names import BARE
from bench.telemetry import Exported
from bench.workload import ANSWER, Case, Messages, Provider, Ticket, ask, ask_async, messages

_WARM_HITS = 200
_WARM_MISSES = 10
_NAMESPACE = {"cache_namespace": f"bench-{os.getpid()}"}  # all clients', and nobody else's
_unused = itertools.count(10_000_000)  # the numbers of prompts that nobody has asked

Block = tuple[Ticket, float]
"""The last answer to some calls, and the CPU seconds of the threads that made them."""


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
        self._clients = itertools.cycle([make(cache) for _ in range(self._load.clients)])
        self._ask_all = self._way()
        self._next_hit = 0
        self._keys = self._load.keys
        if load:
            fill(cache, self._keys, lambda number: self._ask_all([self._prompt(number)]))
        else:
            self._ask_all([self._prompt(number) for number in range(self._keys)])
        self._ask_all([self._prompt(next(_unused)) for _ in range(self._load.missed)])
        miss = self._seconds("miss", _WARM_MISSES) if load else 0.0
        few = 0.5 / max(
            self._seconds("hit", 2), 1e-9
        )  # half a second of large prompts is warm enough
        hit = self._seconds("hit", max(2, min(_WARM_HITS, int(few))))
        self.warm = {"hit": hit, "miss": miss}
        self.flush()
        # What was made so far stays: a full collection within a round need not look at it again.
        gc.collect()
        gc.freeze()

    def begin(self) -> None:
        """What is counted of a round is counted from now on."""
        self._before = self._provider.requests, self._exported.spans.copy()
        self._outcomes = self._exported.outcomes.copy()
        gc.collect()

    def block(self, case: Case, calls: int, *, whole: bool = False) -> tuple[float, float]:
        """Wall and CPU seconds of so many calls; the CPU is that of the threads that make them.

        Of the `whole` of it both last until all that was noted has been encoded, whoever does that.
        """
        prompts = self._prompts(case, calls)
        wall, process = time.perf_counter(), time.process_time()
        self._answer, cpu = self._ask_all(prompts)
        if whole:
            self.flush()
            cpu = time.process_time() - process
        return time.perf_counter() - wall, cpu

    def flush(self) -> None:
        """All that was noted has been encoded then."""
        for provider in self._to_flush:
            provider.force_flush()

    def check(self, case: Case, calls: int) -> None:
        """Be certain what the calls of a round did."""
        self._require("answer", self._answer.model_dump(), ANSWER.model_dump())
        requests, spans = self._before
        asked = self._provider.requests - requests
        self._require("requests to the provider", asked, calls if case == "miss" else 0)
        names = self._contender.spans[case]
        if case == "hit" and self._load.store != "memory":
            names += self._contender.not_in_memory
        wanted = Counter(dict.fromkeys(names, calls))
        self._require("exported spans", self._exported.spans - spans, wanted)
        wanted = Counter({case: calls} if self._contender.counts_outcomes else {})
        self._require("counted outcomes", self._exported.outcomes - self._outcomes, wanted)

    def _way(self) -> Callable[[Sequence[Messages]], Block]:
        """How the calls of a block are spread over clients, threads and tasks."""
        clients, more = self._clients, self._more

        def one_by_one(prompts: Sequence[Messages]) -> Block:
            answer, cpu = ANSWER, time.thread_time()
            for prompt in prompts:
                answer = ask(next(clients), prompt, **more)
            return answer, time.thread_time() - cpu

        async def awaited(prompts: Sequence[Messages]) -> Ticket:
            answer = ANSWER
            for prompt in prompts:
                answer = await ask_async(next(clients), prompt, **more)
            return answer

        async def gathered(prompts: Sequence[Messages]) -> Block:
            cpu = time.thread_time()
            answers = await asyncio.gather(*map(awaited, _dealt(prompts, self._load.tasks)))
            return answers[0], time.thread_time() - cpu

        if self._load.tasks:
            runner = asyncio.Runner()
            return lambda prompts: runner.run(gathered(prompts))
        if self._load.threads == 1:
            return one_by_one
        pool = ThreadPoolExecutor(self._load.threads)

        def side_by_side(prompts: Sequence[Messages]) -> Block:
            blocks = list(pool.map(one_by_one, _dealt(prompts, self._load.threads)))
            return blocks[0][0], sum(cpu for _, cpu in blocks)

        return side_by_side

    def _prompt(self, number: int) -> Messages:
        return messages(number, self._load.prompt)

    def _prompts(self, case: Case, calls: int) -> list[Messages]:
        if case == "miss":
            return [self._prompt(next(_unused)) for _ in range(calls)]
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

    @staticmethod
    def _require(what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise RuntimeError(f"a round is void: {what} should be {wanted!r}, found {found!r}")


def _dealt(prompts: Sequence[Messages], hands: int) -> list[Sequence[Messages]]:
    return [prompts[n::hands] for n in range(hands)]


class Pair:
    """Bare Instructor and a contender, whose calls take turns.

    The bare client is made first, and so has none of what others of its process put into clients. What is put
    into Instructor's functions it meets, as does the unwatched client of a program that watches another.
    """

    def __init__(self, contender: Contender, load: Load | None) -> None:
        self._both = {"bare": Measurer(SET_UPS[BARE], load), "own": Measurer(contender, load)}
        self._threads = 1 if load is None else load.threads
        self.warm = self._both["bare"].warm

    def measure(
        self, case: Case, pairs: int, calls: int, *, whole: bool
    ) -> dict[str, dict[str, float]]:
        """Wall and CPU seconds per call, of a round of so many pairs of blocks of calls.

        Bare Instructor's are the median of its blocks. The contender's are that times the median of the
        ratios of each pair: both halves of it meet the same machine, and where it is slow by half from one
        moment to the next, this repeats where means don't. To its CPU is added what other threads than
        the callers' consumed in the round, until everything was encoded; of `whole` blocks it is in them.
        """
        took: dict[str, list[tuple[float, float]]] = {"bare": [], "own": []}
        for one in self._both.values():
            one.begin()
        before = _others()
        for _ in range(pairs):
            for name in random.sample(list(took), 2):
                took[name].append(self._both[name].block(case, calls, whole=whole))
        others = _others() - before
        if self._threads > 1:
            others -= sum(cpu for blocks in took.values() for _, cpu in blocks)
        flushing = time.process_time()
        for one in self._both.values():
            one.flush()
        others += time.process_time() - flushing
        for one in self._both.values():
            one.check(case, pairs * calls)
        wall, cpu = (paired(took, which) for which in (0, 1))
        cpu["own"] += 0.0 if whole else others / pairs
        return {name: {"wall": wall[name] / calls, "cpu": cpu[name] / calls} for name in took}


def _others() -> float:
    """CPU seconds of all threads but this."""
    return time.process_time() - time.thread_time()


def paired(took: Mapping[str, list[tuple[float, float]]], which: int) -> dict[str, float]:
    bare, own = ([block[which] for block in took[name]] for name in ("bare", "own"))
    ratio = statistics.median(mine / its for mine, its in zip(own, bare, strict=True))
    median = statistics.median(bare)
    return {"bare": median, "own": median * ratio}


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    logging.getLogger("llm_cache_otel").setLevel(logging.ERROR)  # its advice on these prompts
    load: Any = Load(**json.loads(sys.argv[2])) if len(sys.argv) > 2 else None
    pair = Pair(SET_UPS[sys.argv[1]], load)
    print(json.dumps(pair.warm), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(pair.measure(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
