"""What programs did is what Jaeger and Prometheus say: span by span, to the unit, and to the micro-dollar."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from support.caller import MODEL, read_tally
from support.sellers import SELLERS

from e2e.conftest import Programs
from e2e.stack import Stack, redis
from e2e.trees import attributes, named, tree
from e2e.waiting import eventually
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider

pytestmark = pytest.mark.e2e
A_MICRO_DOLLAR = 1e-6

REQUESTS = "llm_cache_requests_total"


def paid(provider: SimulatedProvider) -> float:
    tokens = provider.ledger.tokens[MODEL]
    return float(SELLERS["openai"].cost(tokens))


def agrees(stack: Stack, service: str, programs: Programs, provider: SimulatedProvider) -> None:
    """Prometheus' totals of a service are the ledger's."""
    job = f'{{job="{service}"}}'
    total, by = stack.prometheus.total, stack.prometheus.by
    calls = sum(read_tally(programs.tally).values())
    outcomes = by("llm_cache_outcome", f"{REQUESTS}{job}")
    asked = provider.ledger.requests
    assert outcomes.get("miss", 0) == asked
    assert outcomes.get("hit", 0) == calls - asked
    tokens = provider.ledger.tokens[MODEL]
    usage = "gen_ai_client_inference_usage"
    assert total(f"{usage}_output_tokens_total{job}") == tokens["output"]
    assert total(f"{usage}_input_tokens_total{job}") == sum(tokens.values()) - tokens["output"]
    assert total(f"llm_cache_spent_cost_total{job}") == pytest.approx(
        paid(provider), abs=A_MICRO_DOLLAR
    )
    assert total(f"llm_cache_request_duration_seconds_count{job}") == calls
    assert total(f"gen_ai_client_operation_duration_seconds_count{job}") == asked
    assert total(f"llm_cache_instrumentation_errors_total{job}") == 0


@pytest.mark.parametrize("temporality", ["delta", "cumulative"])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_totals_are_the_ledgers(
    way: str,
    temporality: str,
    stack: Stack,
    programs: Programs,
    own_provider: SimulatedProvider,
) -> None:
    service = f"{way}-{temporality}"
    program = f"""
        from e2e.workers import ask_{way}
        ask_{way}([*range(30), *range(20)])
    """
    preference = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality}
    programs.run(program, stack.collector.grpc_endpoint, service, **preference)
    eventually(lambda: agrees(stack, service, programs, own_provider))
    traces = eventually(lambda: complete(stack, service, 50))
    assert Counter(len(trace["spans"]) for trace in traces) == {4: 30, 1: 20}


def complete(stack: Stack, service: str, count: int) -> list[dict[str, object]]:
    traces = stack.jaeger.traces(service)
    assert len(traces) == count
    return traces


def test_eight_processes_that_share_a_cache_and_are_recycled(
    stack: Stack, programs: Programs, own_provider: SimulatedProvider, tmp_path: Path
) -> None:
    """Their sums are the ledger's, and those that take a process's place count on in its series."""
    program = """
        from e2e.workers import ask_over_redis, in_processes
        import os
        first = int(os.environ["FIRST"])
        for generation in range(2):
            shared, begin = range(first, first + 5), first + 1000 * (generation + 1)
            in_processes(*[
                (ask_over_redis, [*shared, *range(begin + 10 * n, begin + 10 * n + 3), begin + 10 * n])
                for n in range(8)
            ])
    """
    series: list[set[str]] = []
    with redis(tmp_path / "redis") as store:
        for first in (0, 50_000):
            where = {"REDIS_URL": f"redis://{store.address}/0", "FIRST": first}
            programs.run(program, stack.collector.grpc_endpoint, "shop", **where)
            eventually(lambda: agrees(stack, "shop", programs, own_provider))
            page = stack.collector.page()
            lines = [line for line in page.splitlines() if 'job="shop"' in line]
            # Which reason a miss has is of its process and its moment.
            kinds = {
                re.sub(r'llm_cache_reason="[^"]*",?', "", line.split("}")[0]) for line in lines
            }
            series.append(kinds)
    assert series[0] == series[1], "a new process has series of its own"
    instances = stack.prometheus.by("instance", f'{REQUESTS}{{job="shop"}}')
    assert set(instances) == {stack.collector.moved["127.0.0.1:8889"]}, (
        "the Collector's, as scraped"
    )
    processes = {process for _, process in read_tally(programs.tally)}
    assert len(processes) == 32
    hits = stack.prometheus.total(f'{REQUESTS}{{job="shop", llm_cache_outcome="hit"}}')
    assert hits >= 32, "processes hit what others stored"


def test_what_is_counted_before_the_first_scrape_is_counted(
    stack: Stack, programs: Programs, own_provider: SimulatedProvider
) -> None:
    """`increase` takes a series' first value as given. With births beside it all is there."""
    program = "from e2e.workers import ask_sync; ask_sync([*range(40), *range(40)])"
    programs.run(program, stack.collector.grpc_endpoint, "brief")
    eventually(lambda: agrees(stack, "brief", programs, own_provider))
    counted = f'{REQUESTS}{{job="brief"}}'

    def increased() -> None:
        alone = stack.prometheus.total(f"increase({counted}[1m])")
        births = f"min_over_time({counted}[1m]) unless {counted} offset 1m"
        both = f'sum(increase({counted}[1m]) or label_replace({births}, "born", "yes", "", ""))'
        assert stack.prometheus.total(both) == pytest.approx(80, rel=0.1)
        assert alone < 80

    eventually(increased)


def test_span_trees_are_found_by_their_tags(
    stack: Stack, programs: Programs, own_provider: SimulatedProvider
) -> None:
    own_provider.cues.add(Cue(), Cue(answer={}), Cue(), Cue(status=500))
    program = """
        from contextlib import suppress
        from e2e.workers import Caller, request_for
        from support.models import User

        class Changed(User):
            '''Another schema.'''

        Changed.__name__ = "User"
        caller = Caller()
        caller(1, 1)                                              # a miss, a hit
        caller.client.create(**request_for(1, Changed))           # asked twice, for a schema that has changed
        with suppress(Exception):
            caller.client.create(**request_for(2))
    """
    programs.run(
        program, stack.collector.http_endpoint, "trees", OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf"
    )

    def found(**tags: str) -> dict[str, object]:
        named_so = {f"llm_cache.{key}": value for key, value in tags.items()}
        traces = stack.jaeger.traces("trees", {**named_so, "gen_ai.request.model": MODEL})
        well = [trace for trace in traces if "error" not in attributes(named(trace, "create User"))]
        assert len(well) == 1
        return well[0]

    chat = {f"chat {MODEL}": {}}
    lookup = {"cache lookup": {}}
    miss = eventually(lambda: found(outcome="miss", reason="new_prompt"))
    hit = eventually(lambda: found(outcome="hit"))
    changed = eventually(lambda: found(outcome="miss", reason="schema_changed"))
    assert tree(miss) == {"create User": {**lookup, **chat, "cache store": {}}}
    assert tree(hit) == {"create User": {}}
    assert [span["operationName"] for span in changed["spans"]].count(f"chat {MODEL}") == 2

    create = attributes(named(hit, "create User"))
    assert create["span.kind"] == "internal"
    assert create["llm_cache.saved.cost"] > 0
    assert create["llm_cache.attempts"] == 0
    assert create["llm_cache.entry.size"] > 0
    inference = attributes(named(miss, f"chat {MODEL}"))
    assert inference["span.kind"] == "client"
    assert inference["gen_ai.usage.input_tokens"] > 0
    assert attributes(named(miss, "cache lookup"))["llm_cache.hit"] is False
    (failed,) = stack.jaeger.traces("trees", {"error.type": "openai.InternalServerError"})
    assert tree(failed) == {"create User": {**lookup, **chat}}
    assert attributes(named(failed, "create User"))["error"] is True


def test_exemplars_lead_from_a_latency_to_its_trace(
    stack: Stack, programs: Programs, own_provider: SimulatedProvider
) -> None:
    """Also to the latest, long after a series' first."""
    metric = "llm_cache_request_duration_latest_seconds_bucket"

    def exemplars() -> set[str]:
        found = stack.prometheus.ask(
            "query_exemplars", query=f'{metric}{{job="exemplars"}}', start="0", end="9999999999"
        )
        return {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}

    seen: set[str] = set()
    for first in (0, 10):
        program = f"from e2e.workers import ask_sync; ask_sync(range({first}, {first} + 3))"
        programs.run(program, stack.collector.grpc_endpoint, "exemplars")

        def new_ones() -> set[str]:
            new = exemplars() - seen
            assert new
            return new

        for trace_id in eventually(new_ones):
            trace = stack.jaeger.trace(trace_id)
            assert trace is not None
            named(trace, "create User")
            seen.add(trace_id)


def test_names_and_labels_are_those_of_the_contract(
    stack: Stack, programs: Programs, own_provider: SimulatedProvider
) -> None:
    resource = "service.namespace=shops,deployment.environment.name=test,host.name=h"
    program = "from e2e.workers import Caller; caller = Caller(); caller(1, 1)"
    programs.run(program, stack.collector.grpc_endpoint, "names", OTEL_RESOURCE_ATTRIBUTES=resource)

    def page(name: str) -> list[str]:
        lines = stack.collector.page(name).splitlines()
        own = [line for line in lines if 'job="shops/names"' in line]
        assert own
        return own

    summed = eventually(lambda: page("PROMETHEUS_SUMMED_ENDPOINT"))
    latest = eventually(lambda: page("PROMETHEUS_LATEST_ENDPOINT"))
    names = {line.split("{")[0] for line in [*summed, *latest]}
    assert {
        "llm_cache_requests_total",
        "llm_cache_saved_cost_total",
        "llm_cache_saved_duration_seconds_total",
        "llm_cache_backend_duration_seconds_bucket",
        "llm_cache_entries",
        "llm_cache_schema_info_ratio",
    } <= names
    labels = {
        label for line in [*summed, *latest] for label in re.findall(r'(\w+)="', line.split("}")[0])
    }
    assert labels <= {
        "job",
        "deployment_environment_name",
        "le",
        "error_type",
        "instructor_response_model",
        "server_address",
        "server_port",
        "collector_run",
        "collector_bounds",
        *(label for label in labels if label.startswith(("llm_cache_", "gen_ai_"))),
    }
    assert all('deployment_environment_name="test"' in line for line in [*summed, *latest])
