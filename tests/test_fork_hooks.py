"""Programs that fork in odd places: from a signal's handler, a thread, and hooks of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.books import Books
from support.programs import PROTOCOLS, environment, run
from support.stage import Stage

from llm_cache_otel import forks
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider

# The hooks alone, for a lock that the standard library holds around forks would not let it.
SUPERVISOR = """
import importlib.util, os, signal, time
specification = importlib.util.spec_from_file_location("forks", {file!r})
forks = importlib.util.module_from_spec(specification)
specification.loader.exec_module(forks)

class Pausing:
    depth = most = 0

    def pause(self, deadline):
        self.depth += 1
        self.most = max(self.most, self.depth)
        time.sleep(0.001)
        return True

    def resume(self):
        self.depth -= 1

pausing = Pausing()
forks.pause_for_forks(pausing)
forked, most = [], 200

def spawn():
    forked.append(os.fork())
    if not forked[-1]:
        os._exit(0 if forks.generation == 1 else 1)

def reap(*_):
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not process:
            return
        assert status == 0
        if len(forked) < most:
            spawn()

signal.signal(signal.SIGCHLD, reap)
for _ in range(4):
    spawn()
while len(forked) < most:
    time.sleep(0.001)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
print(pausing.depth, pausing.most >= 1, forks._depth)
"""

FAILING = """
import importlib.util, os
specification = importlib.util.spec_from_file_location("forks", {file!r})
forks = importlib.util.module_from_spec(specification)
specification.loader.exec_module(forks)

class Failing:
    def __init__(self, rests):
        self.rests, self.asked = rests, []

    def __getattr__(self, name):
        def fail(*_):
            self.asked.append(name)
            if name == "pause" and self.rests:
                return True
            raise RuntimeError(name)
        return fail

failing = [Failing(True), Failing(False)]
for each in failing:
    forks.pause_for_forks(each)
child = os.fork()
asked = sorted(name for each in failing for name in each.asked)
if not child:
    os._exit(0 if asked == ["end", "end", "pause", "pause"] and forks.generation == 1 else 1)
assert os.waitpid(child, 0)[1] == 0
print(*asked)
"""

STRUCK = """
import importlib.util, os, signal, sys, time
specification = importlib.util.spec_from_file_location("forks", {file!r})
forks = importlib.util.module_from_spec(specification)
specification.loader.exec_module(forks)

class Slow:
    def __init__(self):
        self.resumed = 0

    def pause(self, deadline):
        time.sleep(0.3)
        return True

    def resume(self):
        self.resumed += 1

    def end(self):
        pass

class TimeLimit({base}):
    pass

def strike(*_):
    raise TimeLimit

slow = [Slow() for _ in range(3)]
for each in slow:
    forks.pause_for_forks(each)
signal.signal(signal.SIGALRM, strike)
parent, reached = os.getpid(), False
signal.setitimer(signal.ITIMER_REAL, 0.1)
try:
    os.fork()
    len("where it strikes")
except TimeLimit:
    reached = True
if os.getpid() != parent:
    os._exit(0 if forks.was_disturbed and not reached else 1)
assert os.wait()[1] == 0
print(reached, *(each.resumed for each in slow), forks._depth)
os.waitpid(forked, 0) if (forked := os.fork()) else os._exit(0)
print("it does not come again")
"""

PROGRAMS = {
    "a thread's child that never calls": """
import os, threading
from support.caller import Caller

caller = Caller()
caller(0)

def fork():
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0

thread = threading.Thread(target=fork)
thread.start()
thread.join()
caller(0)
""",
    "hooks of the program's own call": """
import os
from support.caller import Caller
from support.forking import fork, join

caller = Caller()
os.register_at_fork(
    before=lambda: caller("before"), after_in_parent=lambda: caller("after"),
)
caller(0)
join(fork(lambda: None))
caller(0)
""",
    "a child of a parent whose first export still imports": """
import importlib, os, sys, threading, time
from support.caller import Caller
from support.forking import fork, join

importing = threading.Event()

class Slow:
    def find_spec(self, name, *_):
        if name == "netrc":  # which `requests` imports at its first request
            importing.set()
            time.sleep(0.3)

caller = Caller()
sys.meta_path.insert(0, Slow())
sys.modules.pop("netrc", None)
caller(0)
# gRPC's exporter imports nothing then, nor that over HTTP of OpenTelemetry 1.45.0, which has no `requests`.
imports = os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "http/protobuf" and not hasattr(
    importlib.import_module("opentelemetry.exporter.otlp.proto.http._common"), "Urllib3HTTPTransport"
)
assert importing.wait(2) == imports
join(fork(caller, 0, 1))
caller(0)
""",
    "the last call is made at exit": """
import atexit
from support.caller import Caller

caller = Caller()
atexit.register(caller, "late")
caller("first")
""",
}


@pytest.mark.parametrize(
    ("program", "protocol"),
    [
        (program, protocol)
        for program in PROGRAMS
        for protocol in PROTOCOLS
        # There gRPC's own threads, which it starts anew in a child, keep the child from ending.
        if (program, protocol) != ("a thread's child that never calls", "grpc")
    ],
)
def test_it_ends_and_what_was_called_arrives_once(
    program: str,
    protocol: str,
    provider: SimulatedProvider,
    receiver: OtlpReceiver,
    stage: Stage,
    tmp_path: Path,
) -> None:
    books = Books(provider, receiver, tmp_path)
    # The metrics' is the SDK's limit for each collection as well, with a traceback where it takes longer.
    delays = {"OTEL_BSP_SCHEDULE_DELAY": 20, "OTEL_METRIC_EXPORT_INTERVAL": 200}
    variables = environment(provider, receiver, protocol, TALLY=books.tally, **delays)
    _, errors = stage.run(PROGRAMS[program], variables, tmp_path)
    books.check()
    assert "Exception ignored" not in errors
    assert "Traceback" not in errors


def test_a_supervisors_handler_forks_in_the_middle_of_a_fork(provider: SimulatedProvider) -> None:
    out, errors = run(SUPERVISOR.format(file=forks.__file__), environment(provider))
    assert out.split() == ["0", "True", "0"]
    assert errors == ""


@pytest.mark.parametrize("base", ["Exception", "BaseException"])
def test_a_signal_that_strikes_while_a_fork_waits_reaches_the_program(
    base: str, provider: SimulatedProvider
) -> None:
    """And all that is paused is paused, and resumed."""
    program = STRUCK.format(file=forks.__file__, base=base)
    out, errors = run(program, environment(provider))
    assert out.splitlines() == ["True 1 1 1 0", "it does not come again"]
    assert errors == ""


def test_what_can_not_be_paused_keeps_nobody_from_forking(provider: SimulatedProvider) -> None:
    out, errors = run(FAILING.format(file=forks.__file__), environment(provider))
    assert out.split() == ["pause", "pause", "resume", "resume"]
    assert errors == ""
