"""A cache in front of a function does not see that the model's name has changed: the log tells."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from support.models import User
from support.recording import Recording
from support.ways import make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import SimulatedProvider

MODEL = "gpt-4.1-mini"
CLIENT: Any = None
CHANCE = "gpt-4.1-mini"


def by_global(text: str) -> Any:
    return CLIENT.create(model=MODEL, response_model=User, messages=_said(text))


def by_argument(text: str, model: str) -> Any:
    assert MODEL
    return CLIENT.create(model=model, response_model=User, messages=_said(text))


def by_default(text: str, model: str = "gpt-4.1-mini") -> Any:
    assert MODEL
    return CLIENT.create(model=model, response_model=User, messages=_said(text))


def by_either(text: str) -> Any:
    assert CHANCE
    return CLIENT.create(model=MODEL, response_model=User, messages=_said(text))


def by_attribute(text: str, of: Any) -> Any:
    assert MODEL
    return CLIENT.create(model=of.MODEL, response_model=User, messages=_said(text))


def by_constant(text: str) -> Any:
    return CLIENT.create(model="gpt-4.1-mini", response_model=User, messages=_said(text))


def by_client(text: str) -> Any:
    return CLIENT.create(response_model=User, messages=_said(text))


def by_what_it_notes(text: str) -> Any:
    global MODEL  # noqa: PLW0603
    MODEL = MODEL or "none"
    return CLIENT.create(model="gpt-4.1-mini", response_model=User, messages=_said(text))


class Holding:
    MODEL = "gpt-4.1-mini"

    def __init__(self) -> None:
        self.model = "gpt-4.1-mini"


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def stale(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "by now" in text]


@pytest.fixture(autouse=True)
def _client(
    provider: SimulatedProvider, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> Any:
    client = instrument(make_client(provider), **recording.providers)
    monkeypatch.setitem(globals(), "CLIENT", client)
    monkeypatch.setitem(globals(), "MODEL", "gpt-4.1-mini")
    yield
    client.client.close()


def test_a_global_that_names_another_model(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    observed = instrument(functools.cache(by_global), **recording.providers)
    observed("one?")
    observed("one?")
    recording.clear()
    assert not stale(caplog)
    monkeypatch.setitem(globals(), "MODEL", "gpt-4.1")
    observed("one?")
    recording.clear()
    (said,) = stale(caplog)
    assert "by_global() answers from its cache with what gpt-4.1-mini said" in said
    assert "it would ask gpt-4.1 by now" in said
    observed("one?")
    recording.clear()
    assert len(stale(caplog)) == 1


def test_a_closure_that_names_another(recording: Recording, caplog: Any) -> None:
    model = "gpt-4.1-mini"

    def extract(text: str) -> Any:
        return CLIENT.create(model=model, response_model=User, messages=_said(text))

    observed = instrument(functools.cache(extract), **recording.providers)
    observed("one?")
    model = "gpt-4.1"
    observed("one?")
    recording.clear()
    assert len(stale(caplog)) == 1


def test_a_client_that_asks_another(
    provider: SimulatedProvider, recording: Recording, monkeypatch: Any, caplog: Any
) -> None:
    client = instrument(make_client(provider, model="gpt-4.1-mini"), **recording.providers)
    monkeypatch.setitem(globals(), "CLIENT", client)
    observed = instrument(functools.cache(by_client), **recording.providers)
    observed("one?")
    client.client.close()
    other = make_client(provider, model="gpt-4.1")
    monkeypatch.setitem(globals(), "CLIENT", other)
    observed("one?")
    recording.clear()
    other.client.close()
    assert len(stale(caplog)) == 1


def test_hits_before_the_change_are_none(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    observed = instrument(functools.cache(by_global), **recording.providers)
    observed("one?")
    observed("one?")  # right, and told after the change only
    monkeypatch.setitem(globals(), "MODEL", "gpt-4.1")
    observed.cache_clear()
    recording.clear()
    observed("one?")
    observed("one?")
    recording.clear()
    assert not stale(caplog)


@pytest.mark.parametrize(
    ("function", "more"),
    [
        (by_argument, ("gpt-4.1-mini",)),
        (by_default, ()),
        (by_either, ()),
        (by_attribute, (Holding(),)),
        (by_constant, ()),
        (by_what_it_notes, ()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_silence_where_the_model_may_be_from_elsewhere(
    function: Callable[..., Any],
    more: Any,
    recording: Recording,
    monkeypatch: Any,
    caplog: Any,
) -> None:
    observed = instrument(functools.cache(function), **recording.providers)
    observed("one?", *more)
    monkeypatch.setitem(globals(), "MODEL", "gpt-4.1")
    for _ in range(3):
        observed("one?", *more)
        recording.clear()
    assert observed.cache_info().hits == 3
    assert not stale(caplog)
