"""A program in a process of its own that calls when it is told to, and says how that went.

Told and said in lines of JSON, each the name of one of `Strings`' methods and its arguments.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any, Self

from llm_cache_otel import flush
from llm_cache_otel.later import later
from support.caller import Caller, request_for
from support.programs import output_of, start

PROGRAM = "from support.puppet import dance; dance()"


class Strings:
    """What a puppet can be told, in its own process."""

    def __init__(self) -> None:
        self._records: SimpleQueue[logging.LogRecord] = SimpleQueue()
        logging.getLogger().addHandler(QueueHandler(self._records))
        logging.getLogger("llm_cache_otel").setLevel(logging.INFO)
        self._client = Caller().client

    def call(self, *prompts: object) -> list[tuple[Any, float]]:
        """Each call's result and how many seconds it took."""
        results = []
        for prompt in prompts:
            began = time.perf_counter()
            result = self._client.create(**request_for(prompt))
            results.append((result.model_dump(), time.perf_counter() - began))
        assert later.wait(30), "it is a pipeline's queue that fills, and not ours"
        return results

    def flush(self, timeout: float) -> bool:
        return flush(timeout)

    def logged(self) -> list[tuple[str, str, str]]:
        """Logger, level and message of every record since this was last asked."""
        records = [self._records.get() for _ in range(self._records.qsize())]
        return [(record.name, record.levelname, record.getMessage()) for record in records]


def dance() -> None:
    strings = Strings()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        sys.stdout.write(json.dumps(getattr(strings, name)(*arguments)) + "\n")
        sys.stdout.flush()


class Puppet:
    """The program, as a test holds it: `with Puppet(environment(...)) as puppet: puppet.call(1, 2)`.

    At the end of the block it has exited, within `exits_within` seconds.
    """

    def __init__(self, variables: dict[str, str], exits_within: float = 60) -> None:
        self._process = start(PROGRAM, variables)
        self._exits_within = exits_within

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self._tell(name, *arguments)

    def _tell(self, *told: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(told), file=self._process.stdin, flush=True)
        said = self._process.stdout.readline()
        return json.loads(said) if said else output_of(self._process)

    def freeze(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
        else:
            _, errors = output_of(self._process, self._exits_within)
            assert not errors, errors
