"""The simulated providers' prompt caches: what follows from which requests."""

from __future__ import annotations

from llm_cache_otel.cli.simulate.prompt_cache import Block, Input, PromptCache

LONG = "x" * 4 * 2000
"""Two thousand tokens."""


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def automatic(cache: PromptCache, *texts: str, space: str = "", **how: float) -> Input:
    options = {"minimum": 1024, "granularity": 128, **how}
    return cache.automatic(space, [Block(text) for text in texts], **options)  # type: ignore[arg-type]


def test_what_prompts_begin_with_alike_is_read_in_steps() -> None:
    cache = PromptCache(Clock())
    assert automatic(cache, LONG, "one?") == Input(2001)
    assert automatic(cache, LONG, "two?") == Input(2001, read=1920)
    assert automatic(cache, LONG, "two?", granularity=1) == Input(2001, read=2001)
    assert automatic(cache, f"y{LONG}", "two?") == Input(2001)


def test_a_short_prompt_and_another_space_read_nothing() -> None:
    cache = PromptCache(Clock())
    short = "x" * 4 * 1023
    assert automatic(cache, short) == automatic(cache, short) == Input(1023)
    automatic(cache, LONG)
    assert automatic(cache, LONG, space="another key") == Input(2000)


def test_writes_are_counted_where_they_cost() -> None:
    cache = PromptCache(Clock())
    how = {"granularity": 1, "writes_cost": True}
    assert automatic(cache, LONG, **how) == Input(2000, write_5m=2000)
    assert automatic(cache, LONG, "abcd", **how) == Input(2001, read=2000, write_5m=1)


def test_what_nobody_reads_is_forgotten_and_a_read_keeps_it() -> None:
    clock = Clock()
    cache = PromptCache(clock)
    automatic(cache, LONG)
    for letter in "abc":
        automatic(cache, letter * len(LONG))
    for _ in range(3):
        clock.seconds += 299
        assert automatic(cache, LONG).read == 1920
    clock.seconds += 301
    assert automatic(cache, LONG).read == 0


def test_how_long_it_keeps_what_nobody_reads_is_told_it() -> None:
    clock = Clock()
    cache = PromptCache(clock, retention=5)
    blocks = (LONG, "1h"), (LONG, "5m")
    automatic(cache, LONG)
    automatic(cache, LONG, space="asked for a day", seconds=86_400)
    marked(cache, *blocks)
    clock.seconds += 4
    assert (automatic(cache, LONG).read, marked(cache, *blocks).read) == (1920, 4000)
    clock.seconds += 6
    assert (automatic(cache, LONG).read, marked(cache, *blocks).read) == (0, 2000)
    assert automatic(cache, LONG, space="asked for a day").read == 1920


def marked(cache: PromptCache, *blocks: tuple[str, str | None], minimum: int = 1024) -> Input:
    return cache.marked("", [Block(*block) for block in blocks], minimum=minimum)


def test_only_what_is_marked_is_written_and_read() -> None:
    cache = PromptCache(Clock())
    assert marked(cache, (LONG, None), ("one?", None)) == Input(2001)
    assert marked(cache, (LONG, "5m"), ("one?", None)) == Input(2001, write_5m=2000)
    assert marked(cache, (LONG, "5m"), ("two?", None)) == Input(2001, read=2000)
    assert marked(cache, (LONG, None), ("two?", None)) == Input(2001)
    assert marked(cache, (LONG, None), ("two?", "5m")) == Input(2001, read=2000, write_5m=1)


def test_an_hour_and_five_minutes_are_told_apart_and_run_out_apart() -> None:
    clock = Clock()
    cache = PromptCache(clock)
    blocks = (LONG, "1h"), ("one?", "5m")
    assert marked(cache, *blocks) == Input(2001, write_5m=1, write_1h=2000)
    clock.seconds += 301
    assert marked(cache, *blocks) == Input(2001, read=2000, write_5m=1)
    clock.seconds += 3601
    assert marked(cache, *blocks) == Input(2001, write_5m=1, write_1h=2000)


def test_what_is_marked_but_short_is_not_written() -> None:
    cache = PromptCache(Clock())
    for _ in range(2):
        assert marked(cache, (LONG, "5m"), minimum=4096) == Input(2000)


def test_it_looks_twenty_blocks_back() -> None:
    cache = PromptCache(Clock())
    marked(cache, (LONG, "5m"))
    near = [("near", None)] * 19
    far = [("far.", None)] * 21
    assert marked(cache, (LONG, None), *near, ("end.", "5m")).read == 2000
    assert marked(cache, (LONG, None), *far, ("end.", "5m")).read == 0
