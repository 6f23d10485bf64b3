"""The real `watch` command in a real pseudo-terminal, and what programs send to it."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
import termios
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import httpx
import pyte
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from llm_cache_otel.cli.doctor.telemetry import METRIC, SPAN
from llm_cache_otel.cli.received import Histogram, Point, ReceivedMetrics, ReceivedSpan
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.cli.store import MOST_SPANS
from llm_cache_otel.cli.watch_view import Display
from llm_cache_otel.cli.watched import Watched
from llm_cache_otel.cli.wording import ago, plain

WATCH = (sys.executable, "-P", "-m", "llm_cache_otel", "watch")
IN_TERMINAL = (
    *(sys.executable, "-S", "-c"),
    "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])",
)
"""Makes of its standard input the terminal of a command, which Ctrl-C then reaches."""

FREE = ("--grpc-port=0", "--http-port=0")
PATIENCE = 60.0
OURS = "llm_cache_otel"
SECOND = 1_000_000_000

PROGRAM = """
    import sys
    import instructor
    from instructor.cache import AutoCache
    from pydantic import BaseModel
    from llm_cache_otel import flush, instrument

    class User(BaseModel):
        name: str
        age: int

    client = instrument(instructor.from_provider("openai/gpt-4.1-mini", cache=AutoCache(), timeout=30))
    for line in sys.stdin:
        for prompt in line.split():
            client.create(response_model=User, messages=[{"role": "user", "content": prompt}])
        flush(30)
"""


def environment(**variables: str) -> dict[str, str]:
    """This process's, without what would change how a terminal is written to, or telemetry."""
    left_out = ("OTEL_", "LLM_CACHE_OTEL_", "TTY_")
    named = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(left_out)
        and name not in named
        and not name.lower().endswith("_proxy")
    }
    return {**kept, "TERM": "xterm-256color", "NO_PROXY": "*", **variables}


class Terminal:
    """A pseudo-terminal with a command in it, and an emulator that reads it."""

    def __init__(self, *command: str, rows: int = 30, columns: int = 100) -> None:
        self._controller, terminal = os.openpty()
        termios.tcsetwinsize(terminal, (rows, columns))
        self.settings = termios.tcgetattr(terminal)
        self.output = b""
        self._changed = threading.Condition()
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.process = subprocess.Popen([*IN_TERMINAL, *command], stdin=terminal, env=environment())
        self._terminal = terminal
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                output = os.read(self._controller, 65536)
            except OSError:  # nobody has it open any more
                return
            with self._changed:
                self.output += output
                self._stream.feed(output)
                self._changed.notify_all()

    @property
    def text(self) -> str:
        with self._changed:
            return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def title(self) -> str:
        return self._screen.title

    def shows(self, *patterns: str) -> list[str]:
        """Wait until all of these regular expressions are to be found on the screen at once."""
        found: list[re.Match[str] | None] = []

        def all_found() -> bool:
            found[:] = [re.search(pattern, self.text, re.MULTILINE) for pattern in patterns]
            return all(found)

        with self._changed:
            assert self._changed.wait_for(all_found, PATIENCE), f"{patterns} not in\n{self.text}"
        return [match[match.lastindex or 0] for match in found if match]

    def resize(self, rows: int, columns: int) -> None:
        with self._changed:
            self._screen.resize(rows, columns)
            termios.tcsetwinsize(self._controller, (rows, columns))

    def type(self, keys: bytes) -> None:
        os.write(self._controller, keys)

    def end(self) -> tuple[int, str]:
        """The exit code, and what was left in the terminal's normal screen."""
        code = self.process.wait(PATIENCE)
        assert termios.tcgetattr(self._terminal) == self.settings
        os.close(self._terminal)
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive()
        assert self.output.count(b"\x1b[?1049h") == self.output.count(b"\x1b[?1049l")
        assert self.output.count(b"\x1b[?25l") == self.output.count(b"\x1b[?25h")
        left = self.output.rpartition(b"\x1b[?1049l")[2].decode()
        return code, Text.from_ansi(left).plain

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            os.close(self._terminal)
        self._reader.join(PATIENCE)
        os.close(self._controller)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*options: str, **size: int) -> Terminal:
        opened.append(Terminal(*WATCH, *(options or FREE), **size))
        return opened[-1]

    yield open_terminal
    for terminal in opened:
        terminal.close()


def exports(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """What it says is to be exported in another terminal: over gRPC, and over HTTP."""
    over_grpc, over_http = text.split("Over HTTP")
    grpc, http = (
        dict(re.findall(r"^ +export (\w+)=(\S+) *$", part, re.MULTILINE))
        for part in (over_grpc, over_http)
    )
    assert http.pop("OTEL_METRIC_EXPORT_INTERVAL") == "5000"
    return grpc, http


@contextmanager
def program(
    provider: SimulatedProvider, variables: dict[str, str]
) -> Iterator[Callable[[str], None]]:
    """A real client in a process of its own: it asks what it is given, and flushes."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env=environment(OPENAI_API_KEY="k", OPENAI_BASE_URL=provider.openai_url, **variables),
        stdin=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None

    def ask(prompts: str) -> None:
        process.stdin.write(f"{prompts}\n")
        process.stdin.flush()

    try:
        yield ask
    finally:
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def test_numbers_and_trees_of_two_processes_live(
    terminal: Callable[..., Terminal], provider: SimulatedProvider
) -> None:
    watch = terminal(rows=36)
    watch.shows("^Waiting for telemetry", r"instrument\(client\)", "^Ctrl-C ends this")
    over_grpc, over_http = exports(watch.text)
    with program(provider, over_grpc) as ask:
        ask("Ada Ada Ada")
        watch.shows(
            r"^hit rate  66\.7%   saved  \$0\.\d+ .*1 process of unknown_service\S*"
            "   spans .*(now|ago)   metrics .*(now|ago)$",
            r"^memory  hit +2 +66\.7%",
            r"^memory  miss +1 .*\n  new_prompt +1$",
            r"^prompt cache  ineligible +1\n  below_minimum +1$",
            r"^memory entries +1 of at most 128",
            r"^time saved by hits",
        )
        tree = watch.shows(
            r"^create User +[\d.]+ .?s  outcome=miss.*\n├── cache lookup .*  hit=false.*\n"
            r"(?:│.*\n)?├── chat gpt-4.1-mini .*  prompt.outcome=ineligible  prompt.reason=below_min.*\n"
            r"(?:│.*\n)?└── cache store .*"
        )
        assert watch.text.index("outcome=hit") < watch.text.index(tree[0]), "newest first"
        with program(provider, over_http) as ask_other:
            ask_other("Bob")
            watch.shows("^hit rate  50.0% .*2 processes", r"^all requests +4\b")
        ask("Ada")
        watch.shows("^hit rate  60.0% .*2 processes", r"^all requests +5\b")

    watch.resize(40, 60)
    watch.shows(r"^Latest traces ─{46}$", r"^hit rate  60.0%.*\n?.*2 processes")
    watch.resize(12, 120)
    watch.shows(r"^hit rate  60.0%   saved  \$0\.\d+ ", "^… more in a taller terminal$")
    watch.shows(r"^Latest traces ─{106}$", r"outcome=hit  saved\.cost=\$0\.\d+  ")
    watch.resize(45, 100)
    watch.shows(r"^Latest traces ─{86}$", r"^all requests +5\b")
    watch.type(b"\x03")
    code, left = watch.end()
    assert code == 0
    assert "Traceback" not in watch.output.decode()
    assert re.search(r"^all requests +5 +60.0%", left, re.MULTILINE), "the last state is kept"
    assert "├── chat gpt-4.1-mini" in left or "└── cache lookup" in left


def test_where_a_miss_differs_is_seen_in_a_narrow_terminal(
    terminal: Callable[..., Terminal], provider: SimulatedProvider
) -> None:
    watch = terminal(rows=30, columns=80)
    watch.shows("^Ctrl-C ends this")
    over_grpc, _ = exports(watch.text)
    with program(provider, over_grpc) as ask:
        ask("a.b.c.d.e.f.g.h.i.j.k")
        watch.shows("reason=new_prompt")
        ask("a.b.c.d.e.f.g.h.i.j.x")
        watch.shows(
            r"^create User +[\d.]+ .?s  outcome=miss  reason=near_duplicate_prompt.*\n"
            r" +differs in message 0, around character 0\n├── cache lookup "
        )
    watch.type(b"\x03")
    assert watch.end()[0] == 0


def test_sigterm_restores_the_terminal(terminal: Callable[..., Terminal]) -> None:
    watch = terminal(rows=24, columns=80)
    watch.shows("Waiting for telemetry", "^Ctrl-C ends this")
    watch.process.terminate()
    assert watch.end() == (0, "")


def test_once_in_a_terminal(terminal: Callable[..., Terminal], provider: SimulatedProvider) -> None:
    watch = terminal("--once", *FREE, rows=60)
    watch.shows("^Ends when it has arrived, or if nothing has after 60 seconds")
    over_grpc, _ = exports(watch.text)
    with program(provider, over_grpc) as ask:
        ask("Ada Ada")
    code, printed = watch.end()
    assert code == 0
    assert b"\x1b[?1049h" not in watch.output
    assert re.search("^hit rate  50.0%", printed, re.MULTILINE)
    assert re.search(r"^memory entries +1 of at most 128 *$", printed, re.MULTILINE)
    assert re.search(r"^saved by hits +\$0\.0\d+ *$", printed, re.MULTILINE)
    assert re.search(r"^spent +\$0\.0\d+ *$", printed, re.MULTILINE)
    assert re.search(
        r"^read from prompt caches +0\.0% of \d+ input tokens *$", printed, re.MULTILINE
    )
    assert "outcome=miss" in printed
    assert re.search(r"outcome=hit\s+saved.cost=\$0\.0", printed)


@contextmanager
def piped(*options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*WATCH, *FREE, *options],
        env=environment(COLUMNS="100", FORCE_COLOR="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_what_is_piped_is_printed_once(provider: SimulatedProvider) -> None:
    with piped() as watch:
        assert watch.stderr is not None
        said = ""
        while "Ends when" not in said:
            said += watch.stderr.readline()
        with program(provider, exports(Text.from_ansi(said).plain)[1]) as ask:
            ask("Ada Ada Ada Ada")
        output, errors = watch.communicate(timeout=PATIENCE)
        assert (watch.returncode, errors) == (0, "")
    assert output.count("hit rate  ") == 1
    assert "75.0%" in output
    assert "\x1b[?" not in output, "though colours are forced"


def test_nothing_arriving_is_said() -> None:
    with piped("--timeout=3") as watch:
        assert watch.stderr is not None
        while "Ends when" not in watch.stderr.readline():
            pass
        began = time.monotonic()
        output, errors = watch.communicate(timeout=PATIENCE)
        assert (watch.returncode, output) == (1, "")
        assert time.monotonic() - began < 5.5, "it is waited for once"
    advice = errors.partition("Nothing of llm-cache-otel has arrived.")[2]
    for check in ("instrument(client)", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED"):
        assert check in advice


@pytest.mark.parametrize("option", ["--grpc-port", "--http-port"])
def test_a_port_that_is_taken_is_said(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with piped(f"{option}={port}") as watch:
            output, errors = watch.communicate(timeout=PATIENCE)
    assert (watch.returncode, output) == (1, "")
    assert errors.count("\n") == 1
    assert f"Port {port} is taken" in Text.from_ansi(errors).plain
    assert option in errors


@pytest.mark.parametrize("option", ["--grpc-port=65536", "--http-port=-1", "--timeout=0"])
def test_a_bad_value_is_refused(option: str) -> None:
    with piped(option) as watch:
        _, errors = watch.communicate(timeout=PATIENCE)
    assert watch.returncode == 2
    assert option.partition("=")[0] in Text.from_ansi(errors).plain


def test_the_standard_ports_are_the_defaults() -> None:
    done = subprocess.run(
        [*WATCH, "--help"],
        env=environment(COLUMNS="120"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    for option, port in (("--grpc-port", 4317), ("--http-port", 4318)):
        assert re.search(rf"{option} +PORT [^-]+\[default: {port}\]", done.stdout)
    assert not re.search("<|int range|bool", done.stdout.replace("<=", "")), "types are Python's"


def attributes(**values: str) -> list[KeyValue]:
    return [
        KeyValue(key=name.replace("__", "."), value=AnyValue(string_value=value))
        for name, value in values.items()
    ]


numbers = count(1)


def send_span(
    endpoint: str, name: str, scope: str, trace: int, process: str = "one", **values: str
) -> None:
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.extend(attributes(service__instance__id=process))
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name = scope
    of_scope.spans.add(
        name=name,
        trace_id=trace.to_bytes(16),
        span_id=next(numbers).to_bytes(8),
        start_time_unix_nano=time.time_ns() - SECOND,
        end_time_unix_nano=time.time_ns(),
        attributes=attributes(**values),
    )
    post(f"{endpoint}/v1/traces", request.SerializeToString())


def send_metrics(
    endpoint: str, process: str, age: int = 0, entries: int = 0, scope: str = OURS, **outcomes: int
) -> None:
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add()
    of_resource.resource.attributes.extend(attributes(service__instance__id=process))
    of_scope = of_resource.scope_metrics.add()
    of_scope.scope.name = scope
    now = time.time_ns() - age * SECOND
    counter = of_scope.metrics.add(name="llm_cache.requests").sum
    counter.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
    for outcome, requests in outcomes.items():
        labels = attributes(llm_cache__outcome=outcome, llm_cache__backend="memory")
        counter.data_points.add(
            as_int=requests, attributes=labels, start_time_unix_nano=1, time_unix_nano=now
        )
    for name, value in (("entries", entries), ("capacity", 128)):
        gauge = of_scope.metrics.add(name=f"llm_cache.{name}").gauge
        labels = attributes(llm_cache__backend="memory")
        gauge.data_points.add(as_int=value, attributes=labels, time_unix_nano=now)
    post(f"{endpoint}/v1/metrics", request.SerializeToString())


def post(url: str, content: bytes) -> None:
    headers = {"content-type": "application/x-protobuf"}
    with httpx.Client(trust_env=False) as client:
        client.post(url, content=content, headers=headers).raise_for_status()


def test_what_others_send_and_what_is_old(terminal: Callable[..., Terminal]) -> None:
    """Telemetry of a process that ended, of other instrumentations, and of one that is hostile."""
    watch = terminal(columns=140)
    watch.shows("^Ctrl-C ends this")
    endpoint = exports(watch.text)[1]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    hostile = "\x1b]0;owned\x07[red]x[/red]\x1b[2J\x9b2J\n[/]"
    send_span(endpoint, "GET /", "http", trace=1)
    send_metrics(endpoint, "one", scope="somebody else's", hit=99)
    watch.shows("^1 span and 3 time series have come, and none of llm-cache-otel")

    of_create = {"llm_cache__backend": "memory", "error__type": hostile}
    send_span(endpoint, f"create {hostile}", OURS, trace=2, llm_cache__outcome="hit", **of_create)
    send_span(endpoint, "POST /reviews", "http", trace=2)
    watch.shows(
        "^hit rate  100.0% .*1 process   spans .*   no metrics yet$",
        "^Until metrics come, 1 process is counted from spans;",
        "^memory  hit +1 +100.0%",
        "^Latest traces  without 1 span of traces that are not ours ─",
        "^POST /reviews",
        r"^create �\]0;owned�\[red\]x\[/red\]�\[2J�2J \[/\] .*error.type=�\]0;owned�\[red\]x",
        r"^requests failed +1  �\]0;owned�",
    )
    assert not watch.title

    send_metrics(endpoint, "ended", age=200, entries=50, hit=5)
    send_metrics(endpoint, "two", age=10, entries=4, hit=1, miss=2)
    send_metrics(endpoint, "three", entries=3, miss=1)
    watch.shows(
        "^hit rate  70.0% .*4 processes ",
        "^Until metrics come, 1 process is counted",
        r"^memory  hit +7\b",
        r"^memory  miss +3\b",
        "^memory entries +7 of at most 256$",
    )
    send_metrics(endpoint, "one", miss=10)  # a sampler had left these out
    watch.shows("^hit rate  31.6% .*4 processes ", r"^memory  hit +6\b", r"^memory  miss +13\b")
    assert "counted" not in watch.text
    watch.type(b"\x03")
    assert watch.end()[0] == 0


def span(name: str, trace: str = "1", scope: str = OURS, **others: object) -> ReceivedSpan:
    known = {"parent_span_id": None, "attributes": {}, "resource": {}, **others}
    return ReceivedSpan(
        name=name,
        kind="INTERNAL",
        trace_id=trace,
        span_id=str(next(numbers)),
        start_ns=0,
        end_ns=SECOND,
        scope=scope,
        **known,  # type: ignore[arg-type]
    )


def call(outcome: str, process: str | None = None, **others: object) -> ReceivedSpan:
    resource = {} if process is None else {"service.instance.id": process}
    values = {"llm_cache.outcome": outcome, "llm_cache.key.duration": 0.5}
    return span(f"create {outcome}", attributes=values, resource=resource, **others)


def requests(value: float, process: str | None = None) -> Point:
    resource = {} if process is None else {"service.instance.id": process}
    labels = {"llm_cache.outcome": "miss"}
    return Point("llm_cache.requests", "", labels, resource, OURS, 1, 2, value)


def counted(*spans: ReceivedSpan, points: tuple[Point, ...] = ()) -> float:
    return Watched(spans, ReceivedMetrics(points)).metrics.total("llm_cache.requests")


def test_spans_are_counted_until_there_are_metrics() -> None:
    assert counted(call("hit"), call("miss")) == 2
    assert counted(call("hit", "a"), call("hit", "b"), points=(requests(5, "a"),)) == 6
    assert counted(call("hit", "a"), points=(requests(5, "a"),)) == 5
    # Whose these are nobody knows; twice would be worse than late.
    assert counted(call("hit"), points=(requests(5, "a"),)) == 5


def test_what_spans_measured_is_not_estimated() -> None:
    metrics = Watched([call("hit"), call("hit"), span("no call")], ReceivedMetrics(())).metrics
    duration = metrics.histogram("llm_cache.request.duration", {"llm_cache.outcome": "hit"})
    assert (duration.count, duration.sum, duration.quantile(0.95)) == (2, 2.0, 1.0)
    assert metrics.histogram("llm_cache.key.duration").quantile(0.5) == 0.5
    assert not metrics.matching("llm_cache.saved.duration")


def chat(outcome: str, reason: str | None = None, process: str = "a") -> ReceivedSpan:
    values = {"gen_ai.operation.name": "chat", "llm_cache.prompt.outcome": outcome}
    if reason is not None:
        values["llm_cache.prompt.reason"] = reason
    return span("chat", attributes=values, resource={"service.instance.id": process})


def prompt_requests(*spans: ReceivedSpan, points: tuple[Point, ...] = ()) -> dict[tuple, float]:
    metrics = Watched(spans, ReceivedMetrics(points)).metrics
    name, labels = (
        "llm_cache.prompt.requests",
        ("llm_cache.prompt.outcome", "llm_cache.prompt.reason"),
    )
    return {
        values: metrics.total(name, dict(zip(labels, values, strict=True)))
        for values in metrics.values(name, *labels)
    }


def test_prompt_caches_are_counted_from_spans_of_inferences() -> None:
    spans = chat("read"), chat("miss", "prefix_changed"), chat("read"), chat("miss", "first_seen")
    expected = {("read", None): 2, ("miss", "prefix_changed"): 1, ("miss", "first_seen"): 1}
    assert prompt_requests(*spans, call("hit", "a")) == expected
    # Beside another instrumentation, whose span the inference is, the call has it.
    beside = {"llm_cache.outcome": "miss", "llm_cache.prompt.outcome": "read"}
    assert prompt_requests(span("create", attributes=beside)) == {("read", None): 1}
    labels = {"llm_cache.prompt.outcome": "miss"}
    resource = {"service.instance.id": "a"}
    sent = Point("llm_cache.prompt.requests", "", labels, resource, OURS, 1, 2, 5)
    counted = prompt_requests(*spans, chat("miss", process="b"), points=(sent,))
    assert counted == {("miss", None): 6}


def test_gauges_of_silent_processes_are_left_out() -> None:
    def gauge(process: str, seconds: int) -> Point:
        resource = {"service.instance.id": process}
        return Point("entries", "", {}, resource, OURS, 0, seconds * SECOND, 1)

    counter = Point("requests", "", {}, {}, OURS, 1, 0, 1)
    metrics = ReceivedMetrics((counter, gauge("a", 9), gauge("b", 50), gauge("c", 100)))
    assert metrics.without_ended().total("entries") == 2
    assert metrics.without_ended(silence=10).total("entries") == 1
    assert metrics.without_ended().total("requests") == 1
    assert ReceivedMetrics(()).without_ended().points == ()


def many(traces: int, each: int) -> list[ReceivedSpan]:
    return [call("hit", trace=str(trace)) for trace in range(traces) for _ in range(each)]


SENT = {
    "nothing of ours": [span("GET /", scope="http")],
    "one": many(1, 1),
    "many": many(500, 3),
    "one huge trace": many(1, 3000),
    "long names": [span("x" * 5000), span("界" * 5000), span("y")],
    "deep": [
        ReceivedSpan(str(n), "", "1", str(n), str(n - 1), n, n, {}, {}, OURS) for n in range(2000)
    ],
    "differences": [
        span(
            "odd",
            attributes={
                "llm_cache.divergence.part": "x" * 500,
                "llm_cache.divergence.message": "y" * 500,
                "llm_cache.divergence.parts": parts,
            },
        )
        for parts in (["界" * 500, {"a": 1}, "\x1b[2J"], (), "z" * 500)
    ],
    "its own parent": [ReceivedSpan("odd", "", "1", "a", "a", 0, 0, {}, {}, OURS)],
    "odd values": [
        call({"a": 1}),  # type: ignore[arg-type]
        span("odd", attributes={"llm_cache.outcome": ("a", {"b": 1}), "error.type": None}),
        span("odd", attributes={"gen_ai.operation.name": 3, "llm_cache.saved.duration": "x"}),
    ],
}


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (100, 60), (30, 10), (20, 3), (1, 1)])
def test_it_never_overflows(sent: str, columns: int, rows: int) -> None:
    console = Console(width=columns, height=rows, file=io.StringIO())
    backend = Histogram(1, 1.0, {(0.0, 1.0): 1})
    points = [
        Point(
            "llm_cache.backend.duration", "", {"llm_cache.backend": str(n)}, {}, OURS, 1, 1, backend
        )
        for n in range(20)
    ]
    watched = Watched(SENT[sent], ReceivedMetrics(tuple(points)))
    display = Display(watched, ("spans 59 min ago", "metrics 59 min ago"), height=rows)
    lines = console.render_lines(display, pad=False)
    shown = ["".join(segment.text for segment in line).rstrip() for line in lines]
    assert len(shown) <= rows
    assert all(cell_len(line) <= columns for line in shown)
    if sent == "one huge trace" and columns > 30:
        assert shown[-1] == "… more of this trace"


def printed(*sent: ReceivedSpan, width: int = 100, height: int | None = None) -> str:
    console = Console(width=width, file=io.StringIO())
    watched = Watched(sent, ReceivedMetrics(()))
    console.print(Display(watched, ("spans now", "no metrics yet"), height=height))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("differs", "said"),
    [
        (
            {"part": "messages", "message": 3, "offset": 64, "block": 32, "volatile": True},
            "message 3, around character 64",
        ),
        ({"part": "messages", "message": 3}, "message 3"),
        ({"part": "system", "offset": 0, "block": 32}, "system, around character 0"),
        ({"part": "tools"}, "tools"),
        ({"part": "request.timeout"}, "request.timeout"),
        ({"parts": ("model", "request.timeout", "context")}, "model, request.timeout and context"),
    ],
)
@pytest.mark.parametrize("height", [None, 24])
def test_where_a_request_differs_is_said_on_lines_that_fit(
    differs: dict[str, object], said: str, height: int | None
) -> None:
    values = {f"llm_cache.divergence.{name}": value for name, value in differs.items()}
    values |= {"llm_cache.outcome": "miss", "llm_cache.reason": "near_duplicate_prompt"}
    shown = printed(span("create User", attributes=values), width=80, height=height).splitlines()
    assert all(cell_len(line) <= 80 for line in shown)
    begins = next(number for number, line in enumerate(shown) if "differs in " in line)
    assert " ".join(line.strip() for line in shown[begins:]) == f"differs in {said}"
    assert "divergence" not in "".join(shown)


def test_traces_that_are_not_printed_are_counted() -> None:
    assert printed(*many(20, 1)).endswith("… and 4 earlier traces\n")
    assert printed(*many(17, 1)).endswith("… and 1 earlier trace\n")
    assert "earlier" not in printed(*many(16, 1))
    assert "earlier" not in printed(*many(99, 1), height=30)


def of_service(name: str, process: str) -> ReceivedSpan:
    return span("a", resource={"service.name": name, "service.instance.id": process})


@pytest.mark.parametrize(
    ("services", "width", "said"),
    [
        (["shop"], 100, "  1 process of shop   spans now"),
        (["worker", "shop", "shop"], 100, "  3 processes of shop and worker   spans now"),
        (["a", "c", "b"], 100, "  3 processes of a, b and c   spans now"),
        (["x" * 99], 80, "  1 process of xxxxxxxxxxxxxxxxx…   spans now"),
        (["shop"], 60, "  1 process   spans now"),
        (["a\x1b[2J[red]"], 100, "  1 process of a�[2J[red]   spans now"),
    ],
)
def test_services_are_named_where_there_is_room(services: list[str], width: int, said: str) -> None:
    sent = [of_service(name, str(process)) for process, name in enumerate(services)]
    head = printed(*sent, width=width).partition("\n")[0]
    assert re.search(rf"\S {{2,}}{re.escape(said.strip())}   no metrics yet *$", head), head


def test_the_doctors_tests_are_nothing_to_show() -> None:
    tests = [span(SPAN, resource={"service.instance.id": str(process)}) for process in range(9)]
    point = Point(METRIC, "", {}, {"service.instance.id": "9"}, OURS, 1, 2, 1)
    watched = Watched(tests, ReceivedMetrics((point,)))
    assert watched.doctor_came
    assert (watched.processes, watched.newest_span, watched.newest_point) == (0, None, None)
    assert (watched.traces, watched.other_spans, watched.other_series) == ([], 0, 0)
    assert not Watched([call("hit")], ReceivedMetrics(())).doctor_came
    assert Watched([*tests, call("hit", "a")], ReceivedMetrics((point,))).processes == 1


def test_that_the_doctors_test_arrived_is_said(terminal: Callable[..., Terminal]) -> None:
    watch = terminal()
    watch.shows("^Ctrl-C ends this")
    over_grpc, _ = exports(watch.text)
    doctor = subprocess.run(
        [*WATCH[:-1], "doctor"], env=environment(**over_grpc), capture_output=True, check=False
    )
    assert doctor.returncode == 0, doctor.stdout
    watch.shows("^Waiting for telemetry", "^The doctor's test has arrived", "^Ctrl-C ends this")
    assert "have come" not in watch.text
    watch.type(b"\x03")
    assert watch.end() == (0, "")


def test_the_newest_trace_comes_first_and_whole() -> None:
    sent = [
        span("first", "a"),
        span("second", "b"),
        span("GET /", "c", scope="http"),
        span("third", "a", scope="http"),
    ]
    watched = Watched(sent, ReceivedMetrics(()))
    assert [[span.name for span in trace] for trace in watched.traces] == [
        ["first", "third"],
        ["second"],
    ]
    assert watched.other_spans == 1


def test_that_not_all_spans_are_kept_is_said() -> None:
    assert Watched(many(1, 9), ReceivedMetrics(())).spans_are_all
    assert not Watched(many(1, MOST_SPANS), ReceivedMetrics(())).spans_are_all


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "now"), (3.2, "3 s ago"), (59.9, "59 s ago"), (119, "1 min ago"), (7200, "2 h ago")],
)
def test_ages(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_text_of_others_is_harmless() -> None:
    assert plain("a\tb\nc\x1b[0m\x7f\x85\u202e é界🙂") == "a b c�[0m� � é界🙂"
