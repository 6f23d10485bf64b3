"""One process of the demo, and what a user's program looks like: a cached client, instrumented.

Run as `python -m llm_cache_otel.cli.demo_worker`, it writes a line `call` for every call that it
has made, at its end a line `advice …` for each that llm-cache-otel has logged, and exits with
`NOT_DELIVERED` if not all of its telemetry could be sent.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterable, Iterator
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated

import instructor
import typer
from instructor.cache import AutoCache, BaseCache, DiskCache
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel, Field

from llm_cache_otel import flush, instrument

CALL = "call"
ADVICE = "advice"
NOT_DELIVERED = 3
MODEL = "openai/gpt-4.1-mini"

_FLUSH_TIMEOUT = 5.0

_GUIDE = (
    "Read the facts out of the customer's review, as the guide of our house has it.\n"
    + "".join(
        f"{number}. Of the {part}: a review that praises it has five stars, one that returns it has one, and "
        "whatever lies between is counted by the words that a careful reader would underline.\n"
        for number, part in enumerate(
            ("box", "lid", "handle", "cord", "plug", "switch", "lamp", "paint", "smell", "manual")
            * 3,
            1,
        )
    )
)
"""Longer than the 1,024 tokens from which on OpenAI caches what prompts begin with."""

_PRODUCTS = (
    *("kettle", "toaster", "desk lamp", "rice cooker", "fan heater", "hand mixer", "radio"),
    *("coffee mill", "steam iron", "juicer"),
)
_OPINIONS = (
    *("It arrived in time and works well", "The cord is too short for our kitchen"),
    *("Broken when I opened the box", "My mother loves it", "Louder than the old one"),
    *("Does what the manual says", "The switch sticks in the morning", "I would buy it again"),
    *("It smelt of paint for a week", "Good value for the money"),
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Review(BaseModel):
    """What is read out of a customer's review."""

    product: str
    stars: int = Field(ge=1, le=5)
    summary: str


BaseUrl = Annotated[str, typer.Option(help="Where the OpenAI API is.")]


@app.command()
def work(
    base_url: BaseUrl,
    calls: Annotated[int, typer.Option(help="How many calls to make.")],
    prompts: Annotated[int, typer.Option(help="How many different prompts they have.")],
    streamed: Annotated[int, typer.Option(help="How many streamed calls to make as well.")] = 0,
    disk: Annotated[Path | None, typer.Option(help="Cache there, not in memory.")] = None,
) -> None:
    """Make the calls."""
    client = instrument(_client(base_url, disk))
    tell(_calls(client, calls, prompts, streamed))


def tell(calls: Iterable[object]) -> None:
    """Make calls, and tell the demo of each, and at the end of what was logged."""
    log = _log()
    for _ in calls:
        print(CALL, flush=True)
    delivered = flush(_FLUSH_TIMEOUT)
    while not log.empty():
        record = log.get()
        if "deliver" not in record.msg:
            print(ADVICE, record.getMessage(), flush=True)
        elif not delivered:
            print(record.getMessage(), file=sys.stderr)
    if not delivered:
        raise typer.Exit(NOT_DELIVERED)


def client_with(cache: BaseCache, base_url: str) -> instructor.Instructor:
    return instructor.from_provider(MODEL, cache=cache, base_url=base_url, api_key="simulated")


def _client(base_url: str, disk: Path | None) -> instructor.Instructor:
    if disk is None:
        return client_with(AutoCache(), base_url)
    return instructor.from_provider(
        MODEL,
        cache=DiskCache(str(disk)),
        # Without one every client gets a namespace of its own, and no other process hits.
        cache_namespace="demo",
        base_url=base_url,
        api_key="simulated",
    )


def _calls(
    client: instructor.Instructor, calls: int, prompts: int, streamed: int
) -> Iterator[object]:
    for prompt in _prompts(calls, prompts):
        yield client.create(response_model=Review, messages=messages(prompt))
    for prompt in range(streamed):
        # Of a stream, OpenAI reports the tokens where it is asked to.
        asked = {"include_usage": True}
        yield list(
            client.create_partial(
                response_model=Review, messages=messages(prompt), stream_options=asked
            )
        )


def _prompts(calls: int, prompts: int) -> Iterator[int]:
    """`calls` numbers below `prompts`: new ones at even intervals, in between any seen before."""
    rng = random.Random(0)
    seen = 0
    for call in range(calls):
        if seen * calls <= call * prompts:
            yield seen
            seen += 1
        else:
            yield rng.randrange(seen)


def messages(prompt: int, before_guide: str = "") -> list[ChatCompletionMessageParam]:
    """One of a hundred: no two reviews are nearly alike."""
    product = _PRODUCTS[prompt % len(_PRODUCTS)]
    opinion = _OPINIONS[prompt // len(_PRODUCTS) % len(_OPINIONS)]
    return [
        {"role": "system", "content": before_guide + _GUIDE},
        {"role": "user", "content": f"A {product}. {opinion}."},
    ]


def _log() -> SimpleQueue[logging.LogRecord]:
    """What llm-cache-otel warns of from now on; nothing is logged on stderr."""
    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    handler = QueueHandler(records)
    handler.setLevel(logging.WARNING)
    logging.getLogger("llm_cache_otel").addHandler(handler)
    return records


if __name__ == "__main__":
    app()
