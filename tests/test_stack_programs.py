"""What `e2e.stack` finds of programs and processes, and what it hands on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.stack import Missing, finding, processes, signals
from e2e.stack import __main__ as commands
from support.programs import TESTS


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.fixture(params=["/proc", "ps"])
def told_by(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    if request.param == "ps":
        monkeypatch.setattr(processes, "PROC", tmp_path)
    elif not (processes.PROC / "self" / "stat").exists():
        pytest.skip("there is no /proc here")


@pytest.mark.usefixtures("told_by")
def test_a_program_has_one_start(sleeper: subprocess.Popen[bytes]) -> None:
    start = processes.started(sleeper.pid)
    assert start
    assert processes.started(sleeper.pid) == start
    assert start != processes.started(os.getppid())
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert processes.started(sleeper.pid) is None, "though nobody has asked how it ended"
    sleeper.wait()
    assert processes.started(sleeper.pid) is None


def test_a_look_that_fails_is_not_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PROC", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(processes.Unknown, match="ps"):
        processes.started(os.getpid())
    odd = tmp_path / "ps"
    odd.write_text("#!/bin/sh\necho 'unrecognized option: p' >&2; exit 1\n")
    odd.chmod(0o755)
    with pytest.raises(processes.Unknown, match="unrecognized option"):
        processes.started(os.getpid())


def test_signals_are_held_and_then_count() -> None:
    done = []
    with pytest.raises(SystemExit) as left, signals.leaving(), signals.held():
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("whole")
    assert done == ["whole"]
    assert left.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.leaving(), signals.held():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_demo_is_sent_here_whatever_the_shell_says() -> None:
    given = {
        "PATH": "/bin",
        "OTEL_SDK_DISABLED": "true",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://elsewhere:4317",
        "LLM_CACHE_OTEL_ENABLED": "false",
    }
    assert commands._demo_variables(given, "http://127.0.0.1:4317") == {
        "PATH": "/bin",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "NO_PROXY": "*",
    }


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is there, as far as looking for it goes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder / "go")
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def program(file: Path) -> None:
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)


@pytest.mark.usefixtures("go")
def test_a_build_that_breaks_off_is_done_again(tmp_path: Path) -> None:
    wanted = tmp_path / "version" / "it"

    def breaks(part: Path) -> None:
        program(part)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finding._built(wanted, "It", "do without", breaks)
    assert not wanted.exists()
    assert finding._built(wanted, "It", "do without", program) == wanted
    assert list(wanted.parent.iterdir()) == [wanted]
    assert finding._built(wanted, "It", "do without", breaks) == wanted


@pytest.mark.usefixtures("go")
def test_what_can_not_be_run_is_no_program(tmp_path: Path) -> None:
    wanted = tmp_path / "it"
    wanted.write_text("half")
    with pytest.raises(Missing, match="do without"):
        finding._built(wanted, "It", "do without", Path.touch)
    assert finding._built(wanted, "It", "do without", program) == wanted
    assert os.access(wanted, os.X_OK)


@pytest.mark.usefixtures("go")
def test_a_folder_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Missing, match="XDG_CACHE_HOME"):
        finding._built(tmp_path / "file" / "version" / "it", "It", "do without", program)


@pytest.mark.parametrize("variable", ["OTELCOL", "JAEGER"])
def test_a_program_named_from_here_is_found_from_anywhere(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "it")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "./it")
    find = {"OTELCOL": finding.collector, "JAEGER": finding.jaeger}[variable]
    assert find() == tmp_path / "it"


def test_a_cache_named_from_here_is_the_same_from_anywhere(tmp_path: Path) -> None:
    says = "from e2e.stack import finding; print(finding.CACHE)"
    variables = {**os.environ, "PYTHONPATH": str(TESTS), "XDG_CACHE_HOME": "cache"}
    said = subprocess.check_output(
        [sys.executable, "-c", says], cwd=tmp_path, env=variables, text=True
    )
    assert said == f"{tmp_path / 'cache' / 'llm-cache-otel'}\n"
