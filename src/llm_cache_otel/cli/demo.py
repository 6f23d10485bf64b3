"""`llm-cache-otel demo`: real calls of a simulated provider, and what telemetry arrives of them."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Mapping

from rich.console import Console

from llm_cache_otel.cli import demo_report
from llm_cache_otel.cli.demo_report import Done, agree, checks_of, miss_and_hit
from llm_cache_otel.cli.demo_stages import StageFailed, run_stages, stages_of
from llm_cache_otel.cli.demo_why import Explanation, explanations
from llm_cache_otel.cli.destination import Destination, receiver_environment
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider

_LATENCY = 0.03
_ANSWER = Cue(delay=_LATENCY)
_UNUSABLE_ANSWER = Cue(answer={}, delay=_LATENCY)
_REQUESTS_PER_RETRY = 12
_ARRIVAL_TIMEOUT = 5.0
_INTERRUPTED = 130  # what shells expect: 128 and the signal's number


def run_demo(calls: int) -> int:
    """Make `calls` calls, at least 10, and show what arrived of them. Returns the exit code."""
    console = Console(highlight=False)
    destination = Destination.from_environment(os.environ)
    demo_report.introduce(console, destination)
    try:
        if destination is None:
            return _to_own_receiver(calls, console)
        done = _make(calls, destination.environment(os.environ), console)
    except StageFailed as failure:
        demo_report.show_failure(console, failure, destination)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return _INTERRUPTED
    demo_report.show_where_to_look(console, destination, done.advice)
    return 0


def _to_own_receiver(calls: int, console: Console) -> int:
    with OtlpReceiver() as receiver:
        done = _make(calls, receiver_environment(os.environ, receiver.grpc_endpoint), console)

        def explained() -> list[Explanation]:
            return explanations(receiver.spans, receiver.metrics(), done.advice)

        arrived = receiver.wait_for(
            lambda: (
                agree(checks_of(done, receiver.metrics()))
                and all(each.is_as_staged for each in explained())
                and miss_and_hit(receiver.spans) is not None
            ),
            _ARRIVAL_TIMEOUT,
        )
    demo_report.show_received(console, receiver.spans, receiver.metrics(), explained())
    demo_report.show_checks(console, checks_of(done, receiver.metrics()))
    if not arrived:
        return 1
    demo_report.show_one_line(console)
    return 0


def _make(calls: int, environment: Mapping[str, str], console: Console) -> Done:
    with (
        SimulatedProvider(latency=_LATENCY) as provider,
        tempfile.TemporaryDirectory(
            prefix="llm-cache-otel-", ignore_cleanup_errors=True
        ) as directory,
    ):
        stages = stages_of(calls, provider.openai_url, directory)
        # No more than the first stage makes requests at the least, so that all are used up in it.
        cues = [_cue(request) for request in range(stages[0].prompts)]
        provider.cues.add(*cues)
        made = run_stages(stages, environment, console)
        ledger = provider.ledger
        tokens = sum(ledger.tokens.values(), Counter())
        retries = cues.count(_UNUSABLE_ANSWER)
        return Done(made.calls, ledger.requests, retries, tokens, made.advice)


def _cue(request: int) -> Cue:
    return _UNUSABLE_ANSWER if request % _REQUESTS_PER_RETRY == 1 else _ANSWER
