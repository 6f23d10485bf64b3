"""A program that calls and a Collector that gets into trouble, before, during and after."""

from __future__ import annotations

import time
from typing import Self

import instructor
import openai

from llm_cache_otel.cli.simulate import SimulatedProvider
from support.books import outcomes
from support.caller import MODEL, request_for
from support.programs import environment
from support.puppet import Puppet
from support.troubled import TroubledCollector

QUICK = {
    "GRPC_VERBOSITY": "NONE",  # or gRPC itself writes to stderr how connections end
    "OTEL_BSP_SCHEDULE_DELAY": 100,
    "OTEL_METRIC_EXPORT_INTERVAL": 200,
    "OTEL_EXPORTER_OTLP_TIMEOUT": 1,
}


class Scene:
    """A collector, a program that sends to it, and all that the program has called."""

    def __init__(self, protocol: str, provider: SimulatedProvider, **variables: object) -> None:
        self.collector = TroubledCollector(protocol)
        self.puppet = Puppet(environment(provider, self.collector, **QUICK, **variables))
        self.called: list[str] = []
        sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k")
        self._bare = instructor.from_openai(sdk, model=MODEL)

    def __enter__(self) -> Self:
        self.collector.__enter__()
        self.puppet.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bare.client.close()
        self.puppet.__exit__(*error)
        self.collector.__exit__()

    def call(self, prompts: int = 10) -> list[float]:
        """A miss and a hit of each; how many seconds each took. Results are what they always are."""
        new = [f"prompt {len(self.called) + number}" for number in range(prompts)] * 2
        self.called += new
        answers = self.puppet.call(*new)
        bare = [self._bare.create(**request_for(prompt)) for prompt in new[:3]]
        results = [result for result, _ in answers]
        assert results[: len(bare)] == [result.model_dump() for result in bare]
        assert results[:prompts] == results[prompts:]
        return [seconds for _, seconds in answers]

    def all_counted(self) -> bool:
        return sum(outcomes(self.collector.receiver).values()) == len(self.called)

    def traced(self) -> set[str]:
        """Ids of the calls' spans that have arrived: some twice, where an answer did not make it back."""
        spans = self.collector.receiver.spans
        return {span.span_id for span in spans if span.name.startswith("create")}

    def logged(self, level: str, within: float = 20) -> list[tuple[str, str, str]]:
        """What was logged until something of this level was."""
        records: list[tuple[str, str, str]] = []
        ends = time.monotonic() + within
        while time.monotonic() < ends and not any(record[1] == level for record in records):
            time.sleep(0.05)
            records += self.puppet.logged()
        return records
