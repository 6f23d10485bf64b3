"""What fails on the way: programs do not notice, what was promised arrives, what is lost is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from e2e.conftest import Programs
from e2e.running import Running, running
from e2e.stack import Jaeger, Stack
from e2e.waiting import eventually

pytestmark = pytest.mark.e2e
REQUESTS = "llm_cache_requests_total"


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path / "stack") as stack:
        yield stack


def asking(programs: Programs, stack: Stack, service: str) -> AbstractContextManager[Running]:
    return running(programs, "workers.ask_until", stack.collector.grpc_endpoint, service)


def said_by(program: Running) -> tuple[int, float]:
    """How many calls it has made, and how many seconds the slowest took."""
    calls, slowest = program.end().split()
    return int(calls), float(slowest)


def counted(stack: Stack, service: str) -> float:
    """What Prometheus has seen added, from first values and resets on, sample by sample."""
    result = stack.prometheus.ask("query", query=f'{REQUESTS}{{job="{service}"}}[30m]')["result"]
    added = 0.0
    for series in result:
        before = 0.0
        for _, text in series["values"]:
            value = float(text)
            added += value - before if value >= before else value
            before = value
    return added


def has_counted(stack: Stack, service: str, calls: int) -> None:
    assert counted(stack, service) == calls


def has_traces(jaeger: Jaeger, service: str, calls: int) -> None:
    traces = jaeger.traces(service)
    assert len(traces) == calls
    ids = [span["spanID"] for trace in traces for span in trace["spans"]]
    assert len(set(ids)) == len(ids)


def test_the_collector_is_killed_and_comes_back(own_stack: Stack, programs: Programs) -> None:
    """All that was traced meanwhile arrives, and nothing is counted twice."""
    with asking(programs, own_stack, "killed") as program:
        program.goes_on()
        own_stack.collector.kill()
        program.goes_on()
        own_stack.collector.start()
        program.goes_on()
        calls, slowest = said_by(program)
    assert slowest < 5  # the interpreter's first call takes longest
    eventually(lambda: has_traces(own_stack.jaeger, "killed", calls))
    time.sleep(2)
    total = counted(own_stack, "killed")
    assert calls - 40 <= total <= calls, "what was not scraped yet is lost, and no more"


def test_nothing_is_lost_where_nothing_was_on_its_way(own_stack: Stack, programs: Programs) -> None:
    """Also where a counter is beyond its old value before it is read again, which would hide its reset."""
    ask = "from e2e.workers import ask_sync; ask_sync([*range({0}), *range({0})])"
    for calls, total in ((20, 40), (5, 50), (30, 110)):
        programs.run(ask.format(calls), own_stack.collector.grpc_endpoint, "quiet")
        eventually(lambda total=total: has_counted(own_stack, "quiet", total))
        own_stack.collector.kill()
        own_stack.collector.start()


def test_prometheus_is_away_for_a_while(own_stack: Stack, programs: Programs) -> None:
    with asking(programs, own_stack, "unread") as program:
        program.goes_on()
        own_stack.prometheus.stop()
        program.goes_on(60)
        own_stack.prometheus.start()
        calls, _ = said_by(program)
    eventually(lambda: has_counted(own_stack, "unread", calls))


def test_what_jaeger_refuses_waits_on_disk_through_a_restart(
    own_stack: Stack, programs: Programs, tmp_path: Path
) -> None:
    own_stack.jaeger.stop()
    program = "from e2e.workers import ask_sync; ask_sync([*range(20), *range(20)])"
    programs.run(program, own_stack.collector.grpc_endpoint, "refused")
    eventually(lambda: has_counted(own_stack, "refused", 40))

    def waits() -> None:
        assert own_stack.collector.own("otelcol_exporter_queue_size") > 0

    eventually(waits)
    own_stack.collector.kill()
    own_stack.collector.start()
    eventually(waits)
    own_stack.jaeger.start()
    eventually(lambda: has_traces(own_stack.jaeger, "refused", 40))


def test_a_full_queue_keeps_what_it_has_and_tells_of_the_rest(
    programs: Programs, tmp_path: Path
) -> None:
    with Stack(tmp_path / "stack", TRACE_QUEUE_SPANS=1000) as stack:
        stack.jaeger.stop()
        program = """
            from e2e.workers import ask_sync
            ask_sync([n // 2 for n in range(800)])
        """
        programs.run(program, stack.collector.grpc_endpoint, "full")
        eventually(lambda: has_counted(stack, "full", 800))
        own = stack.collector.own
        assert own("otelcol_exporter_enqueue_failed_spans_total") > 0
        assert own("otelcol_receiver_refused_spans_total") > 0
        kept = own("otelcol_receiver_accepted_spans_total")
        stack.jaeger.start()

        def arrived() -> None:
            spans = sum(len(trace["spans"]) for trace in stack.jaeger.traces("full"))
            assert spans == kept

        eventually(arrived)
