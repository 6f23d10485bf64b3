"""Programs that fork in odd places: from a signal's handler, a thread, and hooks of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.books import Books
from support.programs import PROTOCOLS, environment
from support.stage import Stage

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider

PROGRAMS = {
    "a supervisor's handler forks": """
import os, signal, time
from support.caller import Caller

Caller()(0)
forked, most = [], 60

def spawn():
    forked.append(os.fork())
    if not forked[-1]:
        os._exit(0)

def reap(*_):
    while True:
        try:
            process, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not process:
            return
        if len(forked) < most:
            spawn()

signal.signal(signal.SIGCHLD, reap)
for _ in range(4):
    spawn()
while len(forked) < most:
    time.sleep(0.001)
""",
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
    "the last call is made at exit": """
import atexit
from support.caller import Caller

caller = Caller()
atexit.register(caller, "late")
caller("first")
""",
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_it_ends_and_what_was_called_arrives_once(
    program: str,
    protocol: str,
    provider: SimulatedProvider,
    receiver: OtlpReceiver,
    stage: Stage,
    tmp_path: Path,
) -> None:
    books = Books(provider, receiver, tmp_path)
    delays = {"OTEL_BSP_SCHEDULE_DELAY": 20, "OTEL_METRIC_EXPORT_INTERVAL": 30}
    variables = environment(provider, receiver, protocol, TALLY=books.tally, **delays)
    _, errors = stage.run(PROGRAMS[program], variables, tmp_path)
    books.check()
    assert "Exception ignored" not in errors
    assert "Traceback" not in errors
