"""One contender's process: measures a round whenever the parent asks for one.

Started as `python -m bench.worker CONTENDER`. Says `{}` when it is ready; after that every line of
JSON that comes in (`{"case": "hit", "calls": 240}`) is answered by one (`{"wall": …, "cpu": …}`,
seconds per call). Anything unexpected ends it with a traceback.
"""

from __future__ import annotations

import gc
import itertools
import json
import sys
import time
from collections import Counter

from bench.contenders import SET_UPS, Contender
from bench.telemetry import Exported
from bench.workload import ANSWER, Case, Messages, Provider, ask, messages

_STORED = 40
_WARM_HITS = 200


class Measurer:
    """A contender at work. Once made it is warm, and the prompts of hits are stored."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._provider = Provider()
        self._exported = Exported()
        self._client, self._to_flush = contender.set_up(self._provider, self._exported)
        self._unused = itertools.count()
        self._stored = [messages(next(self._unused)) for _ in range(_STORED)]
        for prompt in self._stored + [self._stored[n % _STORED] for n in range(_WARM_HITS)]:
            ask(self._client, prompt)
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
        client, answer = self._client, ANSWER
        gc.collect()
        cpu = time.process_time()
        wall = time.perf_counter()
        for prompt in prompts:
            answer = ask(client, prompt)
        wall = time.perf_counter() - wall
        self._flush()
        cpu = time.process_time() - cpu
        self._check("answer", answer.model_dump(), ANSWER.model_dump())
        asked = self._provider.requests - requests
        self._check("requests to the provider", asked, calls if case == "miss" else 0)
        wanted = Counter(dict.fromkeys(self._contender.spans[case], calls))
        self._check("exported spans", self._exported.spans - spans, wanted)
        wanted = Counter({case: calls} if self._contender.counts_outcomes else {})
        self._check("counted outcomes", self._exported.outcomes - outcomes, wanted)
        return {"wall": wall / calls, "cpu": cpu / calls}

    def _prompts(self, case: Case, calls: int) -> list[Messages]:
        if case == "miss":
            return [messages(next(self._unused)) for _ in range(calls)]
        return [self._stored[n % _STORED] for n in range(calls)]

    def _flush(self) -> None:
        for provider in self._to_flush:
            provider.force_flush()

    @staticmethod
    def _check(what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise RuntimeError(f"a round is void: {what} should be {wanted!r}, found {found!r}")


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    measurer = Measurer(SET_UPS[sys.argv[1]])
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        measured = measurer.measure(asked["case"], asked["calls"])
        print(json.dumps(measured), file=answers, flush=True)


if __name__ == "__main__":
    main()
