"""Three programs whose caches are of little use, each for a cause of its own, and what will be said of it.

Run as `python -m llm_cache_otel.cli.demo_troubles NAME`, it makes the calls of one, and writes the lines that
`demo_worker` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from instructor.cache import AutoCache, DiskCache

from llm_cache_otel import instrument
from llm_cache_otel.cli.demo_worker import BaseUrl, Review, client_with, messages, tell
from llm_cache_otel.facts import MissReason, PromptReason

_Program = Callable[[str, str, Path], Iterator[object]]


@dataclass(frozen=True)
class Trouble:
    """A cause of misses. Its process is told apart by `name`, which is the attribute `llm_cache.name`.

    There are so many different `prompts`. `misses` of the response cache, and `unread` prompts of the
    provider's where it matters, are what will be received: how many for which reason. Those that differ
    from an earlier one do so from this `place` on, a message and a character. `advice` is the gist of
    all that will be logged.
    """

    name: str
    title: str
    make_calls: _Program = field(repr=False)
    prompts: int
    misses: Mapping[str, int]
    advice: tuple[str, ...]
    unread: Mapping[str, int] = field(default_factory=dict[str, int])
    place: tuple[int, int] | None = None

    @property
    def calls(self) -> int:
        return sum(self.misses.values())


def _time_in_prompt(name: str, base_url: str, _: Path) -> Iterator[object]:
    client = instrument(client_with(AutoCache(), base_url), name=name)
    for second in range(12):
        asked = messages(0, before_guide=f"It is 14:03:{second:02}.\n")
        yield client.create(response_model=Review, messages=asked)


def _too_small(name: str, base_url: str, _: Path) -> Iterator[object]:
    client = instrument(client_with(AutoCache(maxsize=4), base_url), name=name)
    for call in range(18):
        yield client.create(response_model=Review, messages=messages(call % 6))


def _no_namespace(name: str, base_url: str, directory: Path) -> Iterator[object]:
    for _ in range(12):
        client = instrument(client_with(DiskCache(str(directory)), base_url), name=name)
        yield client.create(response_model=Review, messages=messages(0))


TROUBLES = (
    Trouble(
        "time-in-prompt",
        "a time at the front of the system prompt",
        _time_in_prompt,
        prompts=12,
        misses={MissReason.NEAR_DUPLICATE_PROMPT: 11, MissReason.NEW_PROMPT: 1},
        unread={PromptReason.PREFIX_CHANGED: 11, PromptReason.FIRST_SEEN: 1},
        place=(0, 0),
        advice=("a little from an earlier one", "Put what changes, such as a time"),
    ),
    Trouble(
        "too-small",
        "a cache that is too small",
        _too_small,
        prompts=6,
        misses={MissReason.EVICTED: 12, MissReason.NEW_PROMPT: 6},
        advice=("AutoCache(maxsize=6)",),
    ),
    Trouble(
        "no-namespace",
        "clients without a common namespace",
        _no_namespace,
        prompts=1,
        misses={MissReason.NAMESPACE_CHANGED: 11, MissReason.NEW_PROMPT: 1},
        advice=("cache_namespace=",),
    ),
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def work(
    name: Annotated[str, typer.Argument(help="Which one.")],
    base_url: BaseUrl,
    disk: Annotated[Path, typer.Option(help="Where there is room for a cache.")],
) -> None:
    """Make the calls."""
    (trouble,) = (each for each in TROUBLES if each.name == name)
    tell(trouble.make_calls(name, base_url, disk))


if __name__ == "__main__":
    app()
