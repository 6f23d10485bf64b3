"""Two agents, two gateways: traces meet, what is promised is kept, metrics are complete all the same."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from e2e.certificates import Certificates, issued
from e2e.conftest import Programs
from e2e.stack import Collector, Prometheus
from e2e.stack.whole import QUICK
from e2e.waiting import eventually
from llm_cache_otel.cli.received import ReceivedSpan
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider

pytestmark = pytest.mark.e2e
SHARES = {"SHARE_OF_ALL": 25, "SHARE_OF_MISSES": 50}
WAITS = {"DECISION_WAIT": "6s", "DECISION_WAIT_AFTER_ROOT": "2s", "SLOW_MS": 1500}


@dataclass(frozen=True)
class Fleet:
    agents: list[Collector]
    gateways: list[Collector]
    receivers: list[OtlpReceiver]
    prometheus: Prometheus

    def kept(self, *services: str) -> dict[str, list[ReceivedSpan]]:
        """Spans of each trace that a gateway has kept, and each trace at one gateway only."""
        at: defaultdict[str, set[int]] = defaultdict(set)
        spans: defaultdict[str, list[ReceivedSpan]] = defaultdict(list)
        for number, receiver in enumerate(self.receivers):
            for span in receiver.spans:
                if span.resource["service.name"] in services:
                    at[span.trace_id].add(number)
                    spans[span.trace_id].append(span)
        assert all(len(numbers) == 1 for numbers in at.values()), "a trace went to two gateways"
        return dict(spans)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return issued(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("fleet")
    with contextlib.ExitStack() as started:
        receivers = [started.enter_context(OtlpReceiver()) for _ in range(2)]
        gateways = [
            Collector(
                directory / f"gateway-{number}",
                *("otel-collector.yaml", "tls.yaml", "gateway/gateway.yaml"),
                authority=certificates.authority,
                JAEGER_ENDPOINT=receiver.grpc_endpoint.removeprefix("http://"),
                **certificates.variables,
                **SHARES,
                **WAITS,
            )
            for number, receiver in enumerate(receivers)
        ]
        addresses = ", ".join(f"127.0.0.1:{one.ports['OTLP_GRPC_ENDPOINT']}" for one in gateways)
        agents = [
            Collector(
                directory / f"agent-{number}",
                "gateway/agent.yaml",
                GATEWAYS=f"[{addresses}]",
                GATEWAY_CA=certificates.authority,
            )
            for number in range(2)
        ]
        for server in (*gateways, *agents):
            started.enter_context(server)
        moved = {
            place: ", ".join(one.moved[place] for one in gateways) for place in gateways[0].moved
        }
        over_tls = f"scheme: https\n    tls_config: {{ca_file: {certificates.authority}}}"
        paces = {**QUICK, "honor_labels: true": f"honor_labels: true\n    {over_tls}"}
        prometheus = Prometheus(directory / "prometheus", moved, paces=paces)
        started.enter_context(prometheus)
        yield Fleet(agents, gateways, receivers, prometheus)


def test_what_is_promised_is_kept(
    fleet: Fleet, programs: Programs, own_provider: SimulatedProvider
) -> None:
    slow, failed = Cue(delay=2.0), Cue(status=500)
    own_provider.cues.add(*[Cue()] * 100, *[slow] * 2, *[failed] * 3)
    program = """
        from contextlib import suppress
        from e2e.workers import Caller, request_for
        caller = Caller()
        caller(*range(100))
        caller("slow one", "slow two")
        for n in range(3):
            with suppress(Exception):
                caller(f"failed {n}")
        caller(*range(100), *range(100))
        for n in range(10):
            caller.client.create(**request_for(n), temperature=0.5)
    """
    programs.run(program, fleet.agents[0].grpc_endpoint, "sampled")

    def told(span: ReceivedSpan) -> str:
        if "error.type" in span.attributes:
            return "failed"
        if span.seconds > 1.5:
            return "slow"
        outcome, reason = (span.attributes.get(f"llm_cache.{key}") for key in ("outcome", "reason"))
        return str(reason or outcome)

    def kept() -> Counter[str]:
        traces = fleet.kept("sampled")
        roots = [span for spans in traces.values() for span in spans if span.name == "create User"]
        found = Counter(map(told, roots))
        assert found["failed"] == 3
        assert found["slow"] == 2
        assert found["parameters_changed"] == 10
        assert found["hit"] > 0
        return found

    found = eventually(kept)
    assert 20 < found["hit"] < 90, "a quarter of 200, more or less"
    assert 20 < found["new_prompt"] < 85, "half of 100, and no less than a quarter"

    def complete() -> None:
        counted = fleet.prometheus.by(
            "llm_cache_outcome", 'llm_cache_requests_total{job="sampled"}'
        )
        assert counted == {"miss": 115, "hit": 200}

    eventually(complete)


def test_all_spans_of_a_trace_meet(fleet: Fleet, programs: Programs) -> None:
    """Of two services, on two hosts with an agent each."""
    program = """
        from random import Random
        from e2e.workers import Caller, within
        # As random as ids are, for that is what shares are taken by; the same of both services.
        ids, caller = Random(1), Caller()
        for n in range(1, 61):
            with within(f"00-{ids.getrandbits(128):032x}-{n:016x}-01"):
                caller(n // 2)
    """
    for service, agent in zip(("front", "back"), fleet.agents, strict=True):
        programs.run(program, agent.grpc_endpoint, service)

    def met() -> None:
        traces = fleet.kept("front", "back")
        assert len(traces) > 10
        for spans in traces.values():
            services = Counter(span.resource["service.name"] for span in spans)
            assert set(services) == {"front", "back"}
            assert services["front"] == services["back"]

    eventually(met)
    assert all(receiver.spans for receiver in fleet.receivers), "both gateways have had some"


def test_metrics_agree(fleet: Fleet, programs: Programs) -> None:
    """Each service's at one gateway, whichever agent they come from, and cumulative ones as deltas."""
    program = "from e2e.workers import ask_sync; ask_sync([*range(10), *range(10)])"
    for number in range(6):
        for temporality, agent in zip(("delta", "cumulative"), fleet.agents, strict=True):
            preference = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality}
            programs.run(program, agent.grpc_endpoint, f"one-of-six-{number}", **preference)

    def agrees() -> None:
        counted = 'llm_cache_requests_total{job=~"one-of-six-.*"}'
        outcomes = fleet.prometheus.by("llm_cache_outcome", counted)
        assert outcomes == {"miss": 120, "hit": 120}
        places = fleet.prometheus.vector(f"count by (job, instance) ({counted})")
        jobs = Counter(dict(labels)["job"] for labels in places)
        assert set(jobs.values()) == {1}

    eventually(agrees)


def test_a_gateway_is_away_for_a_while(fleet: Fleet, programs: Programs) -> None:
    """What was meant for it waits at the agents, and is counted once, whichever gateway it is of."""
    program = "from e2e.workers import ask_sync; ask_sync([*range(5), *range(5)])"
    counts = 'llm_cache_requests_total{job=~"waiting-.*"}'
    programs.run(program, fleet.agents[0].grpc_endpoint, "waiting-0")

    def instance() -> str:
        outcomes = fleet.prometheus.by("llm_cache_outcome", counts)
        assert outcomes == {"miss": 5, "hit": 5}, "or the rest would come when it is back"
        places = {dict(labels)["instance"] for labels in fleet.prometheus.vector(counts)}
        assert len(places) == 1
        return places.pop()

    # The one that has the first service: of a few, all may by chance be at the other.
    port = int(eventually(instance).rpartition(":")[2])
    away = next(one for one in fleet.gateways if one.ports["PROMETHEUS_SUMMED_ENDPOINT"] == port)
    away.stop()
    for number in range(6):
        agent = fleet.agents[number % 2]
        programs.run(program, agent.grpc_endpoint, f"waiting-{number}")
    endpoint = f"127.0.0.1:{away.ports['OTLP_GRPC_ENDPOINT']}"

    def told() -> None:
        failed = [
            line
            for agent in fleet.agents
            for line in agent.page("TELEMETRY_PORT").splitlines()
            if line.startswith("otelcol_loadbalancer_backend_outcome_total{")
            and 'success="false"' in line
        ]
        assert failed, "which LLMCacheTelemetryLost asks for"
        assert all(f'endpoint="{endpoint}"' in line for line in failed)

    eventually(told, 60)  # once an agent gives its first try up
    away.start()

    def counted() -> None:
        outcomes = fleet.prometheus.by("llm_cache_outcome", counts)
        assert outcomes == {"miss": 30, "hit": 30}, "all but what went with the gateway's last run"

    eventually(counted, 60)
