"""What was received is what was called: to the unit, and process by process."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider
from support.caller import read_tally

REQUESTS = "llm_cache.requests"


def requests_by_instance(receiver: OtlpReceiver) -> Counter[str]:
    counted: Counter[str] = Counter()
    for point in receiver.metrics().matching(REQUESTS):
        counted[point.resource["service.instance.id"]] += int(point.value)
    return counted


def creates_by_instance(receiver: OtlpReceiver) -> Counter[str]:
    creates = [span for span in receiver.spans if span.name.startswith("create")]
    assert len({span.span_id for span in creates}) == len(creates), "something was sent twice"
    return Counter(span.resource["service.instance.id"] for span in creates)


def outcomes(receiver: OtlpReceiver) -> dict[str, float]:
    metrics = receiver.metrics()
    return {
        outcome: metrics.total(REQUESTS, {"llm_cache.outcome": outcome})
        for (outcome,) in metrics.values(REQUESTS, "llm_cache.outcome")
    }


class Books:
    """Kept from before the first call on: `asked` is how often the provider has been since."""

    def __init__(
        self, provider: SimulatedProvider, receiver: OtlpReceiver, directory: Path
    ) -> None:
        self.tally = directory / "tally"
        self._provider = provider
        self._receiver = receiver
        self._before = provider.ledger.requests

    def check(self, given_instance: str | None = None) -> None:
        """Every process's calls came from an instance of its own, once, and misses were asked for."""
        noted = read_tally(self.tally)
        calls = {process: count for (what, process), count in noted.items() if what == "call"}
        requests = requests_by_instance(self._receiver)
        assert creates_by_instance(self._receiver) == requests
        assert sorted(requests.values()) == sorted(calls.values())
        if given_instance is not None:
            assert requests == {f"{given_instance}-{process}": n for process, n in calls.items()}
        asked = self._provider.ledger.requests - self._before
        asked += sum(count for (what, _), count in noted.items() if what == "asked")
        misses = outcomes(self._receiver)["miss"]
        assert misses == asked
        chats = [span for span in self._receiver.spans if span.name.startswith("chat")]
        assert len(chats) == asked
