"""What Instructor's own tests found when they were run with us watching: see `make test-instructor`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import instructor
import pytest
from instructor.cache import AutoCache
from support.models import MESSAGES, User
from support.recording import Recording
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.instrumentor import LLMCacheInstrumentor

REQUEST: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "response_model": User}


@pytest.fixture
def every_client(recording: Recording) -> Iterator[None]:
    LLMCacheInstrumentor().instrument(**recording.providers)
    yield
    LLMCacheInstrumentor().uninstrument()


def stub(**kwargs: Any) -> str:
    return "stubbed"


@pytest.mark.usefixtures("every_client")
def test_a_stub_in_place_of_create_is_the_very_same(recording: Recording) -> None:
    client = instructor.Instructor(client=None, create=stub)
    assert client.create_fn is stub
    assert client.create(messages=[], response_model=None) == "stubbed"
    assert recording.spans() == []


@pytest.mark.usefixtures("every_client")
def test_a_create_of_instructors_is_watched_again_after_a_stub(
    provider: SimulatedProvider, recording: Recording
) -> None:
    client = make_client(provider, cache=AutoCache())
    theirs = client.create_fn
    client.create_fn = stub
    assert client.create_fn is stub
    client.create(**REQUEST)
    assert recording.spans() == []
    client.create_fn = theirs
    client.create(**REQUEST)
    assert len(recording.spans("create User")) == 1
    client.client.close()


@pytest.mark.usefixtures("every_client")
def test_a_plain_function_around_a_create_that_was_handed_out_leaves_that_watched(
    provider: SimulatedProvider, recording: Recording
) -> None:
    """As in a notebook, where it holds on to it by a global name."""
    client = make_client(provider, cache=AutoCache())
    names = {"ours": client.create_fn}
    exec("def around(*args, **kwargs): return ours(*args, **kwargs)", names)
    client.create_fn = names["around"]
    client.create(**REQUEST)
    assert len(recording.spans("create User")) == 1
    client.client.close()


def test_a_stub_of_a_client_that_was_given_is_watched(recording: Recording) -> None:
    client = instrument(instructor.Instructor(client=None, create=stub), **recording.providers)
    client.create(messages=[], response_model=None)
    assert len(recording.spans("create")) == 1


class HalfMade:
    """As botocore's clients: what it lacks it looks for, and made without `__init__` it never ends."""

    def __getattr__(self, name: str) -> Any:
        return self.meta

    def converse(self, **kwargs: Any) -> Any:
        raise ConnectionError("asked, and that is all")


def test_a_client_is_not_asked_for_what_it_does_not_have(recording: Recording) -> None:
    sdk = HalfMade()
    create = instructor.patch(create=sdk.converse, mode=instructor.Mode.TOOLS)
    client = instrument(instructor.Instructor(client=sdk, create=create), **recording.providers)
    with pytest.raises(Exception, match="asked, and that is all"):
        client.create(**REQUEST)
    assert "chat" in [span.name.split(" ")[0] for span in recording.spans()]


def loaded_by(program: str) -> list[str]:
    """Which of Instructor's modules a program has loaded when it ends."""
    tail = "import json, sys; print(json.dumps(sorted(m for m in sys.modules if m.startswith('instructor'))))"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{tail}"],
        env={**os.environ, "OTEL_SDK_DISABLED": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded: list[str] = json.loads(done.stdout.splitlines()[-1])
    return loaded


WATCHED = """
from llm_cache_otel.instrumentor import LLMCacheInstrumentor
LLMCacheInstrumentor().instrument()
"""


@pytest.mark.parametrize("program", ["import instructor", "from instructor import Mode"])
def test_nothing_of_instructor_is_loaded_that_the_program_does_not_load(program: str) -> None:
    without_us = loaded_by(program)
    assert loaded_by(WATCHED + program) == without_us
    assert loaded_by(program + WATCHED) == without_us
    again = "\nLLMCacheInstrumentor().uninstrument()\nLLMCacheInstrumentor().instrument()"
    assert loaded_by(WATCHED + program + again) == without_us


@pytest.mark.parametrize(
    "first", ["instructor.Instructor", "instructor.patch", "instructor.from_openai"]
)
def test_whatever_is_asked_for_first_all_is_watched_and_all_is_put_back(first: str) -> None:
    program = f"""
from contextlib import suppress
import instructor
{first}
from llm_cache_otel.observe import instructor_api
from llm_cache_otel.observe.seams import is_seam
assert instructor_api.missing == []
assert "create_fn" in vars(instructor.Instructor)
with suppress(ImportError):  # since 1.11, and since 1.15.3 only when it is asked for
    import instructor.core.patch
assert all(is_seam(getattr(*place)) for place in instructor_api.patch_places())
assert is_seam(instructor.patch)
LLMCacheInstrumentor().uninstrument()
for module in instructor_api.modules():
    assert not [name for name, value in vars(module).items() if is_seam(value)], module
assert "create_fn" not in vars(instructor.Instructor)
"""
    assert "instructor.cache" in loaded_by(WATCHED + program)
