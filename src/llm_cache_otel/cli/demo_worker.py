"""One process of the demo, and what a user's program looks like: a cached client, instrumented.

Run as `python -m llm_cache_otel.cli.demo_worker`, it writes a line `call` for every call that it
has made, and exits with `NOT_DELIVERED` if not all of its telemetry could be sent.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterator
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated

import instructor
import typer
from instructor.cache import AutoCache, DiskCache
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel, Field

from llm_cache_otel import flush, instrument

CALL = "call"
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

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Review(BaseModel):
    """What is read out of a customer's review."""

    product: str
    stars: int = Field(ge=1, le=5)
    summary: str


@app.command()
def work(
    base_url: Annotated[str, typer.Option(help="Where the OpenAI API is.")],
    calls: Annotated[int, typer.Option(help="How many calls to make.")],
    prompts: Annotated[int, typer.Option(help="How many different prompts they have.")],
    streamed: Annotated[int, typer.Option(help="How many streamed calls to make as well.")] = 0,
    disk: Annotated[Path | None, typer.Option(help="Cache there, not in memory.")] = None,
) -> None:
    """Make the calls."""
    log = _log_of_deliveries()
    client = instrument(_client(base_url, disk))
    for prompt in _prompts(calls, prompts):
        client.create(response_model=Review, messages=_messages(prompt))
        print(CALL, flush=True)
    for prompt in range(streamed):
        # Of a stream, OpenAI reports the tokens where it is asked to.
        asked = {"include_usage": True}
        for _ in client.create_partial(
            response_model=Review, messages=_messages(prompt), stream_options=asked
        ):
            pass
        print(CALL, flush=True)
    delivered = flush(_FLUSH_TIMEOUT)
    if not delivered:
        while not log.empty():
            print(log.get().getMessage(), file=sys.stderr)
        raise typer.Exit(NOT_DELIVERED)


def _client(base_url: str, disk: Path | None) -> instructor.Instructor:
    if disk is None:
        return instructor.from_provider(
            MODEL, cache=AutoCache(), base_url=base_url, api_key="simulated"
        )
    return instructor.from_provider(
        MODEL,
        cache=DiskCache(str(disk)),
        # Without one every client gets a namespace of its own, and no other process hits.
        cache_namespace="demo",
        base_url=base_url,
        api_key="simulated",
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


def _messages(prompt: int) -> list[ChatCompletionMessageParam]:
    return [
        {"role": "system", "content": _GUIDE},
        {"role": "user", "content": f"Review number {prompt}: it arrived in time and works well."},
    ]


def _log_of_deliveries() -> SimpleQueue[logging.LogRecord]:
    """What is said from now on of what can't be delivered; nothing is logged on stderr."""
    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    handler = QueueHandler(records)
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: "deliver" in record.msg)
    logging.getLogger("llm_cache_otel").addHandler(handler)
    return records


if __name__ == "__main__":
    app()
