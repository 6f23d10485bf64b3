"""What a hit, and a miss, run through for being watched, counted and not timed: it may not creep.

Bytecodes of Python's, of which a release runs the same number on every machine. What is written in C is not
counted: that shows in `make bench`.
"""

from __future__ import annotations

import itertools
import sys
import time
from importlib.metadata import version
from types import FrameType
from typing import Any

import pytest
from instructor.cache import AutoCache
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from support.models import User
from support.recording import Recording
from support.ways import MODEL, make_client

import llm_cache_otel.later as later_module
from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.later import later
from llm_cache_otel.reporter import Reporter

RAN = {
    ("3.11", "1.17"): {"hit": (947, 4_770), "unsampled hit": (914, 2_607), "miss": (3_947, 19_135)},
}
"""By Python and Instructor: while the caller waits, and later, until the SDK has the spans. Less is an
occasion to lower it."""

CREEP = 1.05
BATCH = 20
KNOWN = RAN.get((f"{sys.version_info[0]}.{sys.version_info[1]}", version("instructor")[:4]), {})


def bytecodes(work: Any) -> int:
    count = 0

    def of_frame(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return of_frame

    before = sys.gettrace()
    sys.settrace(of_frame)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.skipif(not KNOWN, reason="another Python, or another Instructor, runs another number")
@pytest.mark.parametrize("case", ["hit", "unsampled hit", "miss"])
def test_a_call_runs_through_no_more_than_it_did_nor_does_telling_it(
    case: str, provider: SimulatedProvider, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(later_module, "_PAUSE", 600)
    if later._is_rung:  # its thread would tell some, once the pause is over that it is in
        later._hurry.put(None)
    while later._is_rung:
        time.sleep(0.05)
    bare = make_client(provider, cache=AutoCache())
    providers = recording.providers
    if case == "unsampled hit":
        providers["tracer_provider"] = TracerProvider(ALWAYS_OFF, shutdown_on_exit=False)
    watched = instrument(make_client(provider, cache=AutoCache()), **providers)

    def run(client: Any) -> tuple[int, int]:
        numbers = itertools.count(100)

        def ask() -> None:
            prompt = f"Who is {next(numbers) if case == 'miss' else 7}?"
            messages = [{"role": "user", "content": prompt}]
            client.create(model=MODEL, messages=messages, response_model=User)

        def tell() -> None:
            """Not what is summed up in the end, of all that this process observes."""
            while later._work:
                later._do_one(10)

        for _ in range(3):
            ask()
            later.wait(10)  # what stored the entry is known by then
        asked = [bytecodes(ask) for _ in range(BATCH)]
        return min(asked), round(bytecodes(tell) / BATCH)

    (without, nothing), (with_us, told) = run(bare), run(watched)
    for known, more in zip(KNOWN[case], (with_us - without, told - nothing), strict=True):
        assert known / CREEP < more < known * CREEP, f"{more}, of a call of {without}"


@pytest.mark.parametrize("case", ["hit", "miss"])
def test_what_notes_a_call_takes_no_dictionary_of_its_own(
    case: str, provider: SimulatedProvider, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object of more than thirty attributes has one made, and a hit would wait for that."""
    client = instrument(make_client(provider, cache=AutoCache()), **recording.providers)
    noted: list[Any] = []
    ended = Reporter.ended

    def note(reporter: Reporter, call: Any, **more: Any) -> None:
        noted.append(call)
        ended(reporter, call, **more)

    monkeypatch.setattr(Reporter, "ended", note)
    messages = [{"role": "user", "content": "Who is 7?"}]
    for _ in range(1 + (case == "hit")):
        client.create(model=MODEL, messages=messages, response_model=User)
    client.client.close()
    assert len(vars(noted[-1])) <= 30
