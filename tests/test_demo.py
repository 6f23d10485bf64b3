"""The real `demo` command in a process of its own, with next to nothing in its environment."""

from __future__ import annotations

import functools
import io
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from llm_cache_otel import __version__
from llm_cache_otel.cli import demo, destination
from llm_cache_otel.cli.demo_troubles import TROUBLES, Trouble
from llm_cache_otel.cli.demo_why import Explanation
from llm_cache_otel.cli.received import Point, ReceivedMetrics, ReceivedSpan
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.views import duration, metrics_view, trace_view

MODULE = (sys.executable, "-P", "-m", "llm_cache_otel")
SCRIPT = (str(Path(sysconfig.get_path("scripts"), "llm-cache-otel")),)
NUMBERS = {
    10: {
        "memory hit": 5,
        "memory miss": 2,
        "memory bypass": 1,
        "disk hit": 1,
        "disk miss": 1,
        "all requests": 10,
        "prompt cache read": 3,
        "prompt cache miss": 2,
        "first_seen": 1,
        "prefix_changed": 1,
        "calls": (52, 52),
        "provider requests, second attempts too": (47, 47),
        "calls that needed none: hits": (6, 6),
    },
    40: {
        "memory hit": 23,
        "memory miss": 8,
        "memory bypass": 1,
        "disk hit": 4,
        "disk miss": 4,
        "all requests": 40,
        "prompt cache read": 12,
        "prompt cache miss": 2,
        "first_seen": 1,
        "prefix_changed": 1,
        "calls": (82, 82),
        "provider requests, second attempts too": (56, 56),
        "calls that needed none: hits": (27, 27),
    },
}
"""By the number of calls: one of them is streamed, and one of the requests is a retry. And 42 in trouble."""

WHY = {
    "a time at the front of the system prompt": (
        "misses 11 near_duplicate_prompt, 1 new_prompt "
        "prompt cache 11 prefix_changed, 1 first_seen "
        "what differs message 0, around character 0 "
        "advice Requests miss the memory cache 'time-in-prompt' because message 0"
    ),
    "a cache that is too small": (
        "misses 12 evicted, 6 new_prompt advice The memory cache 'too-small' of 4 entries is too small:"
    ),
    "clients without a common namespace": (
        "misses 11 namespace_changed, 1 new_prompt "
        "advice No other process and no other client can hit what this disk cache 'no-namespace'"
    ),
}
"""What is received and logged, by the trouble's title."""

ADVICE = (
    "advice Prompts for gpt-4.1-mini begin differently each time, in message 0",
    "AutoCache(maxsize=6)",
    'cache_namespace="my-app"',
)

UNFRIENDLY = {
    "OTEL_SDK_DISABLED": "true",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "console",
    "OTEL_TRACES_SAMPLER": "always_off",
    "OTEL_METRIC_EXPORT_INTERVAL": "1",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_HEADERS": "no header",
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
    "OTEL_PYTHON_TRACER_PROVIDER": "nothing of the kind",
    "LLM_CACHE_OTEL_INFERENCE_SPANS": "never",
    "LLM_CACHE_OTEL_PROMPT_MINIMUMS": '{"gpt-4.1-mini": 9999}',
    "HTTP_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "OPENAI_BASE_URL": "http://127.0.0.1:9",
}


def run(
    *arguments: str, environment: Mapping[str, str] | None = None, command: tuple[str, ...] = MODULE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *arguments],
        env=dict(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def numbers_after(output: str, label: str) -> tuple[int, ...]:
    """The whole numbers that the row of this label begins with."""
    words = r"\s+".join(map(re.escape, label.split(" ")))
    row = re.search(rf"^\s*{words}[\s|]+((?:\d+[\s|]+)+)", output, re.MULTILINE)
    assert row is not None, output
    return tuple(map(int, re.findall(r"\d+", row[1])))


def said(output: str) -> str:
    """What was said, however its lines were broken."""
    return " ".join(output.split())


@pytest.mark.parametrize(
    ("command", "calls", "environment"),
    [
        (SCRIPT, 40, {"COLUMNS": "200"}),
        (MODULE, 40, UNFRIENDLY),
        (MODULE, 10, {"NO_PROXY": "*", "PYTHONIOENCODING": "ascii"}),
    ],
)
def test_what_is_shown_is_what_was_done(
    command: tuple[str, ...], calls: int, environment: dict[str, str]
) -> None:
    demo = run("demo", f"--calls={calls}", environment=environment, command=command)
    assert (demo.returncode, demo.stderr) == (0, ""), demo.stdout
    for label, number in NUMBERS[calls].items():
        expected = number if isinstance(number, tuple) else (number,)
        assert numbers_after(demo.stdout, label) == expected
    assert numbers_after(demo.stdout, "memory entries") == (NUMBERS[calls]["memory miss"],)
    why = said(demo.stdout).partition(" Why calls missed ")[2]
    assert re.sub("^[^a-z]+", "", why).startswith("a time")
    for title, received in WHY.items():
        assert f"{title} {received}" in why
    assert [advice in why for advice in ADVICE] == [True] * 3
    assert "near_duplicate_prompt" not in said(demo.stdout).partition(" Why calls missed ")[0]
    assert "llm_cache_otel.instrument(client)" in demo.stdout
    miss, hit = re.findall(
        r"^ +create Review .*\n(?:.*(?:cache|chat|[a-z.]+=).*\n)*", demo.stdout, re.MULTILINE
    )
    assert ["outcome=miss" in miss, "hit=false" in miss, "attempts=1" in miss] == [True] * 3
    assert "outcome=miss  reason=new_prompt" in miss
    assert "prompt.outcome=" in miss
    assert re.findall(r"cache lookup|chat gpt-4.1-mini|cache store", miss) == [
        "cache lookup",
        "chat gpt-4.1-mini",
        "cache store",
    ]
    assert ["outcome=hit" in hit, "entry.size=" in hit, "attempts=0" in hit] == [True] * 3
    assert "saved.duration=" in hit
    assert "chat" not in hit


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_telemetry_goes_to_an_endpoint_that_is_set(protocol: str) -> None:
    with OtlpReceiver() as receiver:
        endpoint = receiver.grpc_endpoint if protocol == "grpc" else receiver.http_endpoint
        ours = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        proxies = {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "example.org"}
        demo = run("demo", "--calls=40", environment={**ours, **proxies})
    assert (demo.returncode, demo.stderr) == (0, ""), demo.stdout
    assert endpoint in demo.stdout
    assert "service.name = llm-cache-otel-demo" in said(demo.stdout)
    assert "llm_cache.outcome = miss" in said(demo.stdout)
    for title in WHY:
        assert f"{title} misses llm_cache.name = " in said(demo.stdout)
    assert "llm_cache.prompt.reason = prefix_changed" in said(demo.stdout)
    assert [advice in said(demo.stdout) for advice in ADVICE] == [True] * 3
    metrics = receiver.metrics()
    assert metrics.total("llm_cache.requests") == 82
    assert metrics.total("llm_cache.requests", {"llm_cache.outcome": "hit"}) == 27
    assert metrics.histogram("gen_ai.client.operation.duration").count == 56
    creates = [span for span in receiver.spans if span.name.startswith("create ")]
    assert len(creates) == 82
    assert {span.resource["service.name"] for span in receiver.spans} == {"llm-cache-otel-demo"}
    assert len({span.resource["service.instance.id"] for span in receiver.spans}) == 6
    for name, reason, count in (
        ("time-in-prompt", "near_duplicate_prompt", 11),
        ("too-small", "evicted", 12),
        ("no-namespace", "namespace_changed", 11),
    ):
        where = {"llm_cache.name": name, "llm_cache.reason": reason}
        assert f"misses llm_cache.name = {name}, llm_cache.reason = {reason} " in said(demo.stdout)
        assert metrics.total("llm_cache.requests", where) == count
        assert sum(where.items() <= span.attributes.items() for span in creates) == count


def test_a_signal_without_an_endpoint_is_not_sent() -> None:
    with OtlpReceiver() as receiver:
        only_traces = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{receiver.http_endpoint}/v1/traces",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }
        demo = run("demo", "--calls=10", environment=only_traces)
    assert demo.returncode == 0, demo.stdout
    assert "metrics not sent" in said(demo.stdout)
    assert receiver.spans
    assert not receiver.metrics().points


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_nobody_listening_is_said() -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    demo = run("demo", "--calls=10", environment={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
    assert (demo.returncode, demo.stderr) == (1, "")
    assert f"Not everything could be sent to {endpoint}" in said(demo.stdout)
    assert "Connection refused" in demo.stdout
    assert "memory cache" in demo.stdout
    assert "disk cache" not in demo.stdout, "what was not begun has no progress"


def test_a_refusal_is_said() -> None:
    with OtlpReceiver() as receiver:
        elsewhere = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"{receiver.http_endpoint}/elsewhere",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }
        demo = run("demo", "--calls=10", environment=elsewhere)
    assert (demo.returncode, demo.stderr) == (1, "")
    assert "404" in demo.stdout
    assert "Traceback" not in demo.stdout


def test_telemetry_that_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_metrics(*arguments: object) -> dict[str, str]:
        environment = destination.receiver_environment(*arguments)  # type: ignore[arg-type]
        return {**environment, "OTEL_METRICS_EXPORTER": "none"}

    monkeypatch.setattr(demo, "receiver_environment", without_metrics)
    monkeypatch.setattr(demo, "_ARRIVAL_TIMEOUT", 0.1)
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert demo.run_demo(10) == 1
    output = said(capsys.readouterr().out)
    assert "What was received is not what was done. calls: 52 done, 0 received." in output
    assert "provider requests, second attempts too: 47 done, 0 received." in output
    for title in WHY:
        assert f"{title} misses nothing received " in output
        assert f"does not tell that this was the cause: {title}." in output
    assert "outcome=miss" in output


def test_an_explanation_that_is_not_the_cause_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_other_rules(*arguments: object) -> dict[str, str]:
        environment = destination.receiver_environment(*arguments)  # type: ignore[arg-type]
        return {**environment, "LLM_CACHE_OTEL_PROMPT_MINIMUMS": '{"gpt-4.1-mini": 9999}'}

    monkeypatch.setattr(demo, "receiver_environment", with_other_rules)
    monkeypatch.setattr(demo, "_ARRIVAL_TIMEOUT", 0.1)
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert demo.run_demo(10) == 1
    output = said(capsys.readouterr().out)
    assert "prompt cache 12 below_minimum what differs" in output
    assert output.count("does not tell that this was the cause") == 1
    assert "does not tell that this was the cause: a time at the front" in output
    assert "What was received is not what was done" not in output


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_an_explanation_is_the_cause_and_nothing_else(trouble: Trouble) -> None:
    places = frozenset([trouble.place] if trouble.place else [])
    told = Explanation(trouble, trouble.misses, trouble.unread, places, trouble.advice)
    assert told.is_as_staged
    more = {**trouble.misses, "new_prompt": 99}
    assert not replace(told, misses=more).is_as_staged
    assert not replace(told, misses={}).is_as_staged
    assert not replace(told, places=frozenset([*places, (1, 0)])).is_as_staged
    assert not replace(told, advice=trouble.advice[1:]).is_as_staged
    assert not replace(told, advice=[*trouble.advice, "Do this, too."]).is_as_staged
    assert not replace(told, advice=["Do that."] * len(trouble.advice)).is_as_staged
    assert replace(told, unread={"expired": 1}).is_as_staged == (not trouble.unread)


@pytest.mark.parametrize(
    ("calls", "mention"), [("9", "10"), ("100001", "100000"), ("-1", "10"), ("many", "integer")]
)
def test_an_impossible_number_of_calls_is_refused(calls: str, mention: str) -> None:
    demo = run("demo", f"--calls={calls}")
    assert demo.returncode == 2
    assert "--calls" in demo.stderr
    assert mention in demo.stderr
    assert "Traceback" not in demo.stderr


def test_an_interrupt_ends_it_at_once() -> None:
    with OtlpReceiver() as receiver:
        process = subprocess.Popen(
            [*MODULE, "demo", "--calls=100000"],
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc_endpoint},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Of a shell's background job it is ignored, and so by what that starts.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        assert receiver.wait_for(lambda: bool(receiver.spans), timeout=60)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in output
    assert "Traceback" not in output
    with pytest.raises(ProcessLookupError):  # nor is any process of the demo left
        os.killpg(process.pid, 0)


def test_the_version_is_told() -> None:
    assert run("--version", command=SCRIPT).stdout.strip() == __version__


def test_what_is_not_installed_is_said() -> None:
    hidden = (
        "import sys; sys.modules['uvicorn'] = None; from llm_cache_otel.cli import main; main()"
    )
    command = run("demo", command=(sys.executable, "-c", hidden))
    assert (command.returncode, command.stdout) == (2, "")
    assert command.stderr.count("\n") == 1
    assert "from the clone: pip install -c constraints.txt '.[cli]'" in command.stderr


def test_what_an_example_needs_is_said() -> None:
    hidden = (
        "import sys; sys.modules['starlette'] = None; import offline\n"
        "with offline.openai_or_simulated(): pass"
    )
    examples = str(Path(__file__).parent.parent / "examples")
    command = (sys.executable, "-c", hidden)
    example = run(command=command, environment={"PYTHONPATH": examples})
    assert (example.returncode, example.stdout) == (1, "")
    assert example.stderr.count("\n") == 1
    assert "needs starlette" in example.stderr
    assert "from the clone, pip install -c constraints.txt '.[cli]'" in example.stderr


def shown(view: object) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(view)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, "0.0 µs"),
        (84.2e-6, "84.2 µs"),
        (0.99999e-3, "1.0 ms"),
        (0.0331, "33.1 ms"),
        (0.99999, "1.00 s"),
        (5000.0, "5,000.00 s"),
    ],
)
def test_a_duration_has_the_unit_that_fits(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.fixture
def counted() -> Callable[..., Point]:
    def point(metric: str, value: float, **attributes: str) -> Point:
        labels = {f"llm_cache.{name}": text for name, text in attributes.items()}
        return Point(metric, "", labels, {}, "", 0, 0, value)

    return point


def test_a_hit_rate_is_of_sums(counted: Callable[..., Point]) -> None:
    points = (
        counted("llm_cache.requests", 90, outcome="hit", backend="memory"),
        counted("llm_cache.requests", 10, outcome="miss", backend="memory"),
        counted("llm_cache.requests", 5, outcome="miss", backend="disk", name="mine"),
        counted("llm_cache.requests", 95, outcome="bypass", backend="disk", reason="streaming"),
        counted("llm_cache.requests", 1, outcome="off"),
    )
    lines = [line.split() for line in shown(metrics_view(ReceivedMetrics(points))).splitlines()]
    assert ["memory", "hit", "90", "90.0%"] in lines
    assert ["memory", "miss", "10"] in lines
    assert ["disk", "mine", "miss", "5", "0.0%"] in lines
    assert ["streaming", "95"] in lines
    assert ["no", "cache", "off", "1"] in lines
    assert ["all", "requests", "201", "85.7%"] in lines


def test_reasons_stand_below_outcomes_the_most_frequent_first(
    counted: Callable[..., Point],
) -> None:
    def prompts(value: float, outcome: str, **reason: str) -> Point:
        labels = {"prompt.outcome": outcome} | {f"prompt.{name}": reason[name] for name in reason}
        return counted("llm_cache.prompt.requests", value, **labels)

    points = (
        counted("llm_cache.requests", 2, outcome="miss", backend="disk", reason="evicted"),
        counted("llm_cache.requests", 1, outcome="miss", backend="disk", reason="lost", name="a"),
        counted("llm_cache.requests", 3, outcome="miss", backend="disk", reason="new_prompt"),
        counted("llm_cache.requests", 3, outcome="miss", backend="disk", reason="expired"),
        prompts(7, "unreported"),
        prompts(4, "miss", reason="expired"),
        prompts(1, "write", reason="expired"),
        prompts(1_005, "miss", reason="prefix_changed"),
        prompts(6, "ineligible", reason="of tomorrow\x1b"),
        prompts(9, "read"),
    )
    lines = shown(metrics_view(ReceivedMetrics(points))).splitlines()
    table = [" ".join(line.split()) for line in lines[2:] if line.strip()]
    assert table[: table.index("p50 and p95 are estimated from histogram buckets")] == [
        "disk a miss 1 0.0%",
        "lost 1",
        "disk miss 8 0.0%",
        "expired 3",
        "new_prompt 3",
        "evicted 2",
        "all requests 9 0.0%",
        "prompt cache read 9",
        "prompt cache write 1",
        "expired 1",
        "prompt cache miss 1,009",
        "prefix_changed 1,005",
        "expired 4",
        "prompt cache ineligible 6",
        "of tomorrow� 6",
        "prompt cache unreported 7",
    ]


def test_what_was_not_received_is_not_shown() -> None:
    nothing = shown(metrics_view(ReceivedMetrics(())))
    for word in ("prompt cache", "saved", "entries", "errors", "failed", "cache key", "%"):
        assert word not in nothing


def test_errors_of_ours_are_shown(counted: Callable[..., Point]) -> None:
    errors = counted("llm_cache.instrumentation.errors", 2)
    assert "errors of llm-cache-otel itself 2" in said(
        shown(metrics_view(ReceivedMetrics((errors,))))
    )


def test_names_are_not_read_as_markup(counted: Callable[..., Point]) -> None:
    points = tuple(
        counted(f"llm_cache.{metric}", 1, outcome="hit", backend="memory", name="[/mine]")
        for metric in ("requests", "backend.duration", "entries", "capacity")
    )
    assert shown(metrics_view(ReceivedMetrics(points))).count("memory [/mine]") == 3


def test_where_prompts_differ_is_shown_for_either_cache() -> None:
    where = {
        "llm_cache.divergence.block": 32,
        "llm_cache.divergence.offset": 64,
        "llm_cache.divergence.message": 0,
        "llm_cache.divergence.part": "messages",
    }
    of_create = {"llm_cache.outcome": "miss", "llm_cache.reason": "near_duplicate_prompt"}
    of_chat = {
        "llm_cache.prompt.expected_tokens": 1_400,
        "llm_cache.prompt.reason": "prefix_changed",
        "llm_cache.prompt.outcome": "miss",
    }
    spans = [
        ReceivedSpan("create", "INTERNAL", "1", "a", None, 0, 9, of_create | where, {}, ""),
        ReceivedSpan("chat", "CLIENT", "1", "b", "a", 0, 9, of_chat | where, {}, ""),
    ]
    differs = "differs in message 0, around character 64"
    create, chat = said(shown(trace_view(spans))).split("└── chat ")
    assert create.strip().endswith(f"outcome=miss reason=near_duplicate_prompt {differs}")
    assert chat.endswith(
        f"prompt.outcome=miss prompt.reason=prefix_changed prompt.expected_tokens=1400 {differs}"
    )


def test_a_span_without_its_parent_is_shown() -> None:
    def span(name: str, span_id: str, parent: str | None, start_ns: int) -> ReceivedSpan:
        return ReceivedSpan(name, "INTERNAL", "1", span_id, parent, start_ns, 9_000_000, {}, {}, "")

    spans = [span("late child", "c", "b", 2), span("child", "d", "b", 1), span("lost", "b", "a", 0)]
    lines = shown(trace_view(spans)).splitlines()
    assert [re.sub(r"^[├└─ ]*|\s{2,}.*$", "", line) for line in lines] == [
        "lost",
        "child",
        "late child",
    ]
