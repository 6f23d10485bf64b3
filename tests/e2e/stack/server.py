"""A program that listens on this machine."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import httpx

_STARTS_WITHIN = 60.0
_STOPS_WITHIN = 15.0


_ports = random.Random().sample(range(15_000, 32_000), 17_000)


def free_port() -> int:
    """Another each time, and none that a system gives to connections, which may be gone before it is used.

    Linux gives them those from 32768 on, others from 49152 on.
    """
    while True:
        port = _ports.pop()
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Server:
    """Runs from `start` to `stop` or `kill`, as often as one likes; what it says is in `log`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        directory: Path,
        is_ready: Callable[[], bool],
        variables: Mapping[str, str],
        address: str = "",
    ) -> None:
        self.name = name
        self.address = address
        self.log = directory / f"{name}.log"
        self.command = [str(part) for part in command]
        self._directory = directory
        self._is_ready = is_ready
        self._variables = dict(variables)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def start(self) -> Self:
        """Once it answers.

        Raises:
            RuntimeError: as `wait` has it.
        """
        self.launch()
        self.wait()
        return self

    def launch(self) -> None:
        """It has an id then, and does not answer yet."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self._directory,
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # or Ctrl-C would end it before what uses it
            )

    def wait(self) -> None:
        """Until it answers.

        Raises:
            RuntimeError: it ends, or does not answer; with the last that it said.
        """
        process = self._process
        assert process is not None, f"{self.name} does not run"
        ends = time.monotonic() + _STARTS_WITHIN
        while not self._answers():
            if process.poll() is not None:
                self._fail(f"ended with {process.returncode}")
            if time.monotonic() > ends:
                self.kill()
                self._fail("does not answer")
            time.sleep(0.05)

    def stop(self) -> None:
        """As a service manager would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Without a warning."""
        self._end(signal.SIGKILL)

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError, OSError):
            return self._is_ready()
        return False

    def _end(self, by: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(by)
        try:
            process.wait(_STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _fail(self, how: str) -> None:
        said = self.said().strip()
        last = said.rpartition("\n")[2][-300:] or "nothing"
        error = RuntimeError(f"{self.name} {how}. {self.log} ends with: {last}")
        error.add_note(said[-3000:])  # for who reads a traceback
        raise error

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def answers(url: str, **how: object) -> Callable[[], bool]:
    """Whether a GET of `url` is answered well."""
    return lambda: httpx.get(url, trust_env=False, **how).is_success  # type: ignore[arg-type]
