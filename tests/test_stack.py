"""`python -m e2e.stack up | down`, with programs that do next to nothing in place of the real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e.stack import Server, running
from support.programs import TESTS

IGNORES = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("does", flush=True)
time.sleep(60)
"""


def _heeds_signals() -> None:
    """Though these tests may run where nothing does, such as under nohup."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Machine:
    """A cache folder, and variables of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.up = directory / "llm-cache-otel" / "up"
        self.noted = self.up / "running.json"
        self.up.mkdir(parents=True)
        self.variables = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(TESTS),
            "XDG_CACHE_HOME": str(directory),
        }
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            env=self.variables,
            stdout=-1,
            stderr=-1,
            text=True,
            start_new_session=True,
            preexec_fn=_heeds_signals,  # noqa: PLW1509  nothing else runs in this process' threads
        )
        self.processes.append(process)
        return process

    def begin(self, what: str, **variables: object) -> subprocess.Popen[str]:
        self.variables |= {name: str(value) for name, value in variables.items()}
        return self.start(sys.executable, "-m", "e2e.stack", what)

    def run(self, what: str, **variables: object) -> tuple[int, str, str]:
        process = self.begin(what, **variables)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def sleeper(self) -> subprocess.Popen[str]:
        return self.start("sleep", "60")

    def note(self, *processes: subprocess.Popen[str]) -> list[running.Program]:
        programs = [running.program(f"program-{one.pid}", one.pid) for one in processes]
        found = [one for one in programs if one is not None]
        running.note(self.noted, found)
        return found

    def script(self, text: str) -> Path:
        file = self.directory / "stand-in"
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
        return file


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    for one in machine.noted.exists() and running.noted(machine.noted) or []:
        if one.runs():
            os.kill(one.pid, signal.SIGKILL)
    for process in machine.processes:
        process.kill()
        process.communicate()


def wait(until: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not until():
        assert time.monotonic() < ends, "it does not come"
        time.sleep(0.02)


def without_ps(directory: Path) -> str:
    path = directory / "empty"
    path.mkdir()
    return str(path)


def test_down_ends_what_was_noted_and_no_other(machine: Machine) -> None:
    first, second, other = (machine.sleeper() for _ in range(3))
    machine.note(first, second)
    code, out, err = machine.run("down")
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"program-{one.pid} ({one.pid})" for one in (second, first)]
    assert (first.wait(), second.wait()) == (-signal.SIGTERM, -signal.SIGTERM)
    assert other.poll() is None
    assert not machine.noted.exists()


def test_down_needs_no_ps_and_no_width(machine: Machine) -> None:
    one = machine.sleeper()
    machine.note(one)
    code, _, err = machine.run("down", PATH=without_ps(machine.directory), COLUMNS=20)
    assert (code, err) == (0, "")
    assert one.wait() == -signal.SIGTERM


def test_down_leaves_a_stranger_with_a_noted_id_and_the_same_command(machine: Machine) -> None:
    stranger = machine.sleeper()
    (found,) = machine.note(stranger)
    running.note(machine.noted, [running.Program(found.name, found.pid, f"{found.started}0")])
    assert machine.run("down") == (0, "", "")
    assert stranger.poll() is None
    assert not machine.noted.exists()


def test_down_ends_nothing_that_it_can_not_tell(machine: Machine) -> None:
    sleeper = machine.sleeper()
    running.note(machine.noted, [running.Program("jaeger", sleeper.pid, "")])
    code, _, err = machine.run("down")
    assert code == 1
    assert f"jaeger ({sleeper.pid}) may still run" in err
    assert sleeper.poll() is None
    assert machine.noted.exists()
    assert machine.run("up")[0] == 1, "or two would run"
    sleeper.kill()
    sleeper.wait()
    assert machine.run("down") == (0, "", "")
    assert not machine.noted.exists()


def test_down_says_what_still_runs_and_ends_the_others(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from e2e.stack import __main__ as commands

    sleeper, stubborn = machine.sleeper(), machine.start(sys.executable, "-c", IGNORES)
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    machine.note(sleeper, stubborn)
    monkeypatch.setattr(commands, "RUNNING", machine.noted)
    monkeypatch.setattr(running, "ENDS_WITHIN", 0.2)
    assert commands.down() == 1
    assert f"({stubborn.pid}) may still run: it has not ended" in capsys.readouterr().err
    assert sleeper.wait() == -signal.SIGTERM
    assert stubborn.poll() is None
    assert machine.noted.exists()
    stubborn.kill()
    assert commands.down() == 0
    assert not machine.noted.exists()


@pytest.mark.parametrize(
    "text", ["", "[", "{}", "null", "[1]", '[["jaeger"]]', '[["jaeger", 0, "x"]]', "\udcff"]
)
def test_a_file_that_is_none_of_ours_notes_nothing(machine: Machine, text: str) -> None:
    machine.noted.write_text(text, errors="surrogateescape")
    assert running.noted(machine.noted) == []


def test_a_note_that_can_not_be_written_leaves_the_one_before(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = machine.note(machine.sleeper())

    def fails(file: Path, text: str) -> int:
        with file.open("w") as half:
            half.write(text[:3])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", fails)
    with pytest.raises(OSError, match="No space"):
        machine.note(machine.sleeper())
    assert running.noted(machine.noted) == before


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_up_that_is_ended_while_a_program_starts_ends_it(
    machine: Machine, by: signal.Signals
) -> None:
    up = machine.begin("up", JAEGER=machine.script("exec sleep 60"))
    wait(machine.noted.exists)
    (jaeger,) = running.noted(machine.noted)
    assert jaeger.runs()
    up.send_signal(by)
    _, err = up.communicate(timeout=60)
    assert (up.returncode, err) == (128 + by, "")
    assert not jaeger.runs()
    assert not machine.noted.exists()


def test_down_ends_what_an_up_without_an_end_has_started(machine: Machine) -> None:
    up = machine.begin("up", JAEGER=machine.script("exec sleep 60"))
    wait(machine.noted.exists)
    (jaeger,) = running.noted(machine.noted)
    up.kill()
    up.wait()
    assert jaeger.runs()
    assert machine.run("down") == (0, f"{jaeger}\n", "")
    assert not jaeger.runs()


def test_up_says_in_one_line_which_program_ends_and_what_it_said(machine: Machine) -> None:
    code, _, err = machine.run("up", JAEGER=machine.script("echo first; echo no such port; exit 3"))
    log = machine.up / "jaeger" / "jaeger.log"
    assert (code, err) == (1, f"jaeger ended with 3. {log} ends with: no such port\n")
    assert not machine.noted.exists()


@pytest.mark.parametrize("what", ["up", "down"])
def test_a_cache_that_can_not_be_is_one_line(machine: Machine, what: str) -> None:
    file = machine.directory / "file"
    file.touch()
    code, _, err = machine.run(what, XDG_CACHE_HOME=file)
    assert code == 1
    assert len(err.splitlines()) == 1
    assert str(file) in err


def test_what_a_server_said_is_with_its_error(tmp_path: Path) -> None:
    says = "print('one'); print('two'); raise SystemExit(2)"
    server = Server("it", [sys.executable, "-c", says], tmp_path, lambda: False, {})
    with pytest.raises(RuntimeError, match="it ended with 2") as failed:
        server.start()
    assert failed.value.__notes__ == ["one\ntwo"]
    assert str(failed.value).endswith("ends with: two")
