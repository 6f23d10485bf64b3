"""What it costs to tell why a call missed, by the length of its prompt: `python -m bench.reasons`.

Beside each other in one process, in turns: a miss of bare Instructor whose provider answers at once, and what
is done of the same request to explain it, both layers: the medians, and the one as a share of the other.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import instructor
import openai
from instructor.cache import AutoCache
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.facts import Interval
from llm_cache_otel.interpret.miss_reason import CacheHistory
from llm_cache_otel.interpret.sent_prompts import SentPrompts
from llm_cache_otel.observe.keyed_request import keyed_request
from llm_cache_otel.observe.sent_prompt import sent_prompt
from llm_cache_otel.observe.snapshot import Unread

_LENGTHS = {"1 KB": 1_000, "100 KB": 100_000, "1 MB": 1_000_000}
_ROUNDS = 30


class Answer(BaseModel):
    text: str


def main() -> int:
    table = Table("prompt", "a bare miss", "to explain it", "share")
    for column in table.columns[1:]:
        column.justify = "right"
    with SimulatedProvider() as provider:
        sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
        for label, length in _LENGTHS.items():
            bare, explained = _measure(sdk, length)
            table.add_row(
                label,
                f"{bare * 1e3:.2f} ms",
                f"{explained * 1e3:.2f} ms",
                f"{explained / bare:.1%}",
            )
        sdk.close()
    Console().print(table)
    return 0


def _measure(sdk: openai.OpenAI, length: int) -> tuple[float, float]:
    client = instructor.from_openai(sdk, model="gpt-4o-mini", cache=AutoCache())
    history, sent = CacheHistory(honours_ttl=False), SentPrompts()
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(_ROUNDS):
        request: dict[str, Any] = {
            "messages": [
                {"role": "system", "content": "You answer in few words."},
                {"role": "user", "content": _prose(number, length)},
            ],
            "response_model": Answer,
        }
        moment = Interval(number, number)

        def ask() -> None:
            client.create(**request)  # noqa: B023  called at once

        def explain() -> None:
            asked = {"model": "gpt-4o-mini", **request}  # noqa: B023
            key = {
                "request": asked,
                "response_model": Answer,
                "mode": "tool_call",
                "namespace": "n",
                "context": None,
                "strict": True,
                "provider": "openai",
                "client_identity": {"bound": {"_client": {"base_url": "u", "api_key": "k"}}},
            }
            history.missed(
                str(number),  # noqa: B023
                moment,  # noqa: B023
                lambda: keyed_request(key, asked),
                capacity=None,
            )
            history.settle()
            prompt = sent_prompt(1, asked)
            if isinstance(prompt, Unread):
                prompt = prompt.read()
            assert prompt is not None
            sent.compare_and_add(prompt, moment, None, is_marked=False)  # noqa: B023

        for work, taken in zip((ask, explain), times, strict=True):
            taken.append(_seconds(work))
    return statistics.median(times[0]), statistics.median(times[1])


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _prose(seed: int, length: int) -> str:
    rng = random.Random(seed)
    words = [
        "".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randrange(2, 9))) for _ in range(2_000)
    ]
    sentences: list[str] = []
    while sum(map(len, sentences)) < length:
        sentences += [" ".join(rng.choices(words, k=12)) + ". " for _ in range(50)]
    return "".join(sentences)[:length]


if __name__ == "__main__":
    sys.exit(main())
