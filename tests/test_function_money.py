"""What hits of functions behind `functools.cache` save: what the run was charged that made the answer."""

from __future__ import annotations

import functools

import pytest
from support.functions import asking, sums
from support.recording import Recording
from support.ways import make_client

from llm_cache_otel import Rates, Settings, instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider

MICRO_DOLLAR = 1e-6


def test_a_hit_saves_what_the_run_was_charged(recording: Recording) -> None:
    with SimulatedProvider() as bank:
        client = instrument(make_client(bank), **recording.providers)
        observed = instrument(functools.cache(asking(client)), **recording.providers)
        for text in ("one?", "two?", "one?", "one?"):
            observed(text)
        found = sums(recording)
        client.client.close()
        assert bank.ledger.requests == 2
        spent = found["llm_cache.spent.cost"]
        charged = bank.ledger.tokens["gpt-4.1-mini"]
        price = (charged["plain"] * 0.4 + charged["output"] * 1.6) / 1e6
        assert spent == pytest.approx(price, abs=MICRO_DOLLAR)
    miss, _ = [s for s in recording.spans("create User") if s.attributes.get("llm_cache.backend")]
    worth = miss.attributes.get("llm_cache.saved.cost")
    assert worth is None, "a miss saves nothing"
    one = recording.spans("chat gpt-4.1-mini")[0].attributes["llm_cache.spent.cost"]
    assert found["response llm_cache.saved.cost"] == pytest.approx(2 * one, abs=1e-12)
    tokens = recording.spans("chat gpt-4.1-mini")[0].attributes
    total = tokens["gen_ai.usage.input_tokens"] + tokens["gen_ai.usage.output_tokens"]
    assert found["response llm_cache.saved.tokens"] == 2 * total
    assert found["llm_cache.unpriced.requests"] == 0
    assert found["llm_cache.saved.duration"] > 0


def test_an_answer_that_was_asked_for_again_saves_both(recording: Recording) -> None:
    with SimulatedProvider() as bank:
        client = instrument(make_client(bank), **recording.providers)
        observed = instrument(functools.cache(asking(client)), **recording.providers)
        bank.cues.add(Cue(answer={}))
        observed("one?")
        spent = sums(recording)["llm_cache.spent.cost"]
        assert bank.ledger.requests == 2
        observed("one?")
        found = sums(recording)
        client.client.close()
    assert found["response llm_cache.saved.cost"] == pytest.approx(spent, abs=1e-12)


def test_of_a_client_that_is_not_observed_nothing_is_claimed(
    provider: SimulatedProvider, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(provider)
    observed = instrument(functools.cache(asking(client)), **recording.providers)
    for _ in range(4):
        observed("one?")
    client.client.close()
    found = sums(recording)
    assert "response llm_cache.saved.cost" not in found
    assert found["llm_cache.unpriced.requests"] == 3
    said = [text for text in caplog.messages if "is not known" in text]
    assert len(said) == 1
    assert "extract()" in said[0]


def test_an_observed_client_is_no_cause_for_advice(
    provider: SimulatedProvider, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    client = instrument(make_client(provider), **recording.providers)
    observed = instrument(functools.cache(asking(client)), **recording.providers)
    for _ in range(4):
        observed("one?")
    client.client.close()
    assert not [text for text in caplog.messages if "is not known" in text]


def test_a_function_that_calls_another_pays_for_both(recording: Recording) -> None:
    with SimulatedProvider() as bank:
        client = instrument(make_client(bank), **recording.providers)
        inner = instrument(functools.cache(asking(client)), **recording.providers)
        outer = instrument(
            functools.cache(lambda text: (inner(text), inner("both?"))), **recording.providers
        )
        outer("one?")
        spent = sums(recording)["llm_cache.spent.cost"]
        outer("one?")
        assert sums(recording)["response llm_cache.saved.cost"] == pytest.approx(spent)
        client.client.close()


def test_hits_are_priced_as_the_client_is_that_was_asked(
    provider: SimulatedProvider, recording: Recording
) -> None:
    dear = Settings(prices={"gpt-4.1-mini": Rates(input="10", output="100")})
    client = instrument(make_client(provider), settings=dear, **recording.providers)
    observed = instrument(functools.cache(asking(client)), **recording.providers)
    observed("one?"), observed("one?")
    client.client.close()
    found = sums(recording)
    assert found["response llm_cache.saved.cost"] == pytest.approx(found["llm_cache.spent.cost"])
    assert found["llm_cache.spent.cost"] > 0.0005
