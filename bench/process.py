"""A process that measures when it is asked to, and is idle otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent

# Each of these would change what is measured, for one contender or for all.
_FOREIGN_SETTINGS = (
    *("OTEL_", "LLM_CACHE_OTEL_", "OPENINFERENCE_", "OPENAI_", "CACHE_LENS_"),
    "PYTHONDONTWRITEBYTECODE",
)


class BenchError(Exception):
    """The run is void; the message says why."""


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN_SETTINGS)}


class Worker:
    """Speaks lines of JSON with `python -m MODULE ARGUMENTS`, whose first says that it is ready."""

    def __init__(self, name: str, module: str, *arguments: str, **more: str) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment() | more,
            start_new_session=True,  # Ctrl-C is for the parent, which ends its workers itself
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, **question: object) -> dict[str, Any]:
        self.tell(**question)
        return self.answer()

    def tell(self, **question: object) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the lack of an answer tells
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """The next; the first says that it is ready."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"the process of '{self._name}' failed; it said why above")
        answer: dict[str, Any] = json.loads(line)
        return answer
