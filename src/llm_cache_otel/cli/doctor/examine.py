"""What the doctor does: resolve, send, find out why, say."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import get_args

from opentelemetry.sdk.resources import Resource
from rich.console import Console

from llm_cache_otel.cli.doctor import remarks, report
from llm_cache_otel.cli.doctor.answer import Answer
from llm_cache_otel.cli.doctor.finding import Attempt, Finding
from llm_cache_otel.cli.doctor.look import in_time
from llm_cache_otel.cli.doctor.otlp import Otlp, otlp
from llm_cache_otel.cli.doctor.refusals import clock_finding, finding_of, skew
from llm_cache_otel.cli.doctor.resolution import (
    exporter_names,
    own_settings,
    service_name,
    settings_of,
)
from llm_cache_otel.cli.doctor.telemetry import telemetry
from llm_cache_otel.cli.doctor.versions import versions
from llm_cache_otel.emit.environment import problems
from llm_cache_otel.emit.pipeline.exporters import exporters
from llm_cache_otel.emit.pipeline.fallbacks import Signal

SIGNALS: tuple[Signal, ...] = get_args(Signal)

_INTERRUPTED = 130  # what shells expect: 128 and the signal's number
_GRACE = 1.0
"""Seconds after a timeout in which it is told."""

_LONGEST_DIAGNOSIS = 20.0
_USED_ALL_THE_SAME = ("_ENDPOINT", "_HEADERS", "_EXPORTER", "_ATTRIBUTES", "_DETECTORS")
"""How variables end whose values are used, or a part of them, whatever is wrong with them."""


@dataclass
class Test:
    """An OTLP exporter, what it was answered, and what is wrong."""

    __test__ = False  # to pytest

    signal: Signal
    otlp: Otlp
    answer: Answer = field(default_factory=lambda: Answer(accepted=False))
    skew: float | None = None
    findings: list[Finding] = field(default_factory=list)


def examine(timeout: float) -> int:
    """Examine, report, and return the exit code: 0 if all that is configured was accepted."""
    console = Console(highlight=False)
    try:
        return _examine(console, timeout)
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return _INTERRUPTED
    except Exception as error:
        report.show_failure(console, error)
        return 1


def _examine(console: Console, timeout: float) -> int:
    given = dict(os.environ)
    found = problems(given)
    bad = {problem.variable for problem in found}
    unused = {name for name in bad if not name.endswith(_USED_ALL_THE_SAME)}
    environment = {name: value for name, value in given.items() if name not in unused}
    resource = Resource.create()
    tests: list[Test] = []
    off = remarks.switched_off(environment, bad)
    not_built: list[Finding] = []
    for signal in () if off else SIGNALS:
        try:
            tests += _tests(signal, environment, bad)
        except Exception as error:
            not_built.append(remarks.not_built(signal, error))
    report.show_versions(console, versions())
    settings = {
        signal: settings_of(
            signal,
            [test.otlp for test in tests if test.signal == signal],
            environment,
            off[0].variable if off else "",
        )
        for signal in SIGNALS
    }
    service = service_name(resource, environment)
    own, about_own = remarks.own_settings()
    used = {name: given[name] for name in given.keys() - {one.variable for one in about_own}}
    report.show_settings(console, settings, [service, *own_settings(own, used)])
    sent = {test.signal for test in tests}
    if tests:
        report.show_sending(console, sent, timeout)
        _run(tests, resource, environment, timeout)
        skews = [test.skew for test in tests if test.skew is not None]
        answers = [(test.signal, test.answer) for test in tests]
        report.show_answers(console, answers, max(skews, key=abs, default=None))
    accepted = not not_built and all(test.answer.accepted for test in tests)
    findings = [
        *off,
        *not_built,
        *remarks.of_problems(found, failed=not accepted),
        *about_own,
        *remarks.of_settings(service.value, environment),
        *remarks.of_aliases(own),
        *remarks.of_instrumentor(environment),
    ]
    about: list[tuple[str, Finding]] = [
        (test.signal, finding) for test in tests for finding in test.findings
    ]
    about += [("", finding) for finding in findings]
    arrives = accepted and not any(finding.serious for _, finding in about)
    report.show_findings(console, about)
    report.show_verdict(console, service.value, sent, arrives=arrives)
    return 0 if arrives else 1


def _tests(signal: Signal, environment: Mapping[str, str], bad: set[str]) -> Iterator[Test]:
    """Of OTLP exporters only: others print, or serve on a port that your program may have."""
    names = [name for name in exporter_names(signal, environment) if name.startswith("otlp")]
    os.environ[f"OTEL_{signal.upper()}_EXPORTER"] = ",".join(names) or "none"
    for exporter in exporters(signal, bad):
        built = otlp(exporter, signal)
        if built is not None:
            yield Test(signal, built)


def _run(
    tests: Sequence[Test], resource: Resource, environment: Mapping[str, str], timeout: float
) -> None:
    """All at once, and no longer than it may take, whatever blocks."""
    threads = [
        threading.Thread(
            target=_run_one,
            args=(test, resource, environment, timeout),
            name="llm_cache_otel-doctor",
            daemon=True,
        )
        for test in tests
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout + _GRACE + _LONGEST_DIAGNOSIS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _run_one(
    test: Test, resource: Resource, environment: Mapping[str, str], timeout: float
) -> None:
    sent = in_time(
        lambda: test.otlp.send(telemetry(test.signal, resource), timeout), timeout + _GRACE
    )
    silence = Answer(accepted=False, message=f"no answer within {timeout:g} s", seconds=timeout)
    test.answer = sent or silence
    test.skew = skew(test.answer, datetime.now(UTC))
    attempt = Attempt(test.signal, test.otlp, test.answer, environment)
    found = finding_of(attempt, timeout), clock_finding(test.skew)
    test.findings += [finding for finding in found if finding is not None]
