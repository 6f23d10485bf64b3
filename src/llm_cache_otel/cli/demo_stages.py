"""What the demo does: six processes, one after another."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from llm_cache_otel.cli import demo_troubles, demo_worker
from llm_cache_otel.cli.demo_troubles import TROUBLES, Trouble

_MOST_PROMPTS = 100
"""Fewer than AutoCache has room for: what hits must not depend on what it evicts."""

_MOST_DISK_CALLS = 50


@dataclass(frozen=True)
class Stage:
    """One process: `calls` calls in all with so many different prompts, and its command line."""

    label: str
    calls: int
    prompts: int
    command: Sequence[str]


@dataclass(frozen=True)
class Made:
    """How many calls the processes made, and what was logged in each, by its label."""

    calls: int
    advice: Mapping[str, Sequence[str]]


class StageFailed(Exception):
    """A process did not end as it should; `errors` is what it wrote to stderr."""

    def __init__(self, exit_code: int, errors: str) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code
        self.errors = errors


def stages_of(calls: int, base_url: str, directory: str) -> list[Stage]:
    """`calls` calls, at least 10: most with a memory cache, some twice with a disk cache. Then troubles."""
    # -P: modules that happen to lie in the working directory must not be taken for others.
    python = sys.executable, "-P", "-m"
    provider = f"--base-url={base_url}"

    def stage(label: str, calls: int, prompts: int, *options: str, streamed: int = 0) -> Stage:
        plain = calls - streamed
        numbers = f"--calls={plain}", f"--prompts={prompts}", f"--streamed={streamed}"
        command = *python, demo_worker.__name__, provider, *numbers, *options
        return Stage(label, calls, prompts, command)

    def in_trouble(trouble: Trouble) -> Stage:
        disk = f"--disk={Path(directory, trouble.name)}"
        command = *python, demo_troubles.__name__, trouble.name, provider, disk
        return Stage(trouble.title, trouble.calls, trouble.prompts, command)

    on_disk = min(_MOST_DISK_CALLS, calls // 10)
    in_memory = calls - 2 * on_disk
    prompts = min(_MOST_PROMPTS, in_memory // 4)
    disk = f"--disk={directory}"
    return [
        stage("memory cache", in_memory, prompts, streamed=1),
        stage("disk cache, filled by one process", on_disk, on_disk, disk),
        stage("disk cache, read by another", on_disk, on_disk, disk),
        *map(in_trouble, TROUBLES),
    ]


def run_stages(stages: Sequence[Stage], environment: Mapping[str, str], console: Console) -> Made:
    """Run them with progress bars.

    Raises:
        StageFailed: a process exited with a code other than 0. The later ones are not run.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    advice: dict[str, list[str]] = {}
    with Progress(*columns, console=console) as progress:
        tasks = [progress.add_task(stage.label, total=stage.calls, start=False) for stage in stages]
        try:
            for stage, task in zip(stages, tasks, strict=True):
                progress.start_task(task)
                logged = advice.setdefault(stage.label, [])
                _run(stage.command, environment, partial(progress.advance, task), logged.append)
        finally:  # bars of what will not be run any more would look as if it were still to come
            for later in progress.tasks:
                if not later.started:
                    progress.remove_task(later.id)
        return Made(int(sum(task.completed for task in progress.tasks)), advice)


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    advance: Callable[[], None],
    advise: Callable[[str], None],
) -> None:
    with (
        tempfile.TemporaryFile("w+", errors="replace") as stderr,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                word, _, text = line.strip().partition(" ")
                if word == demo_worker.CALL:
                    advance()
                elif word == demo_worker.ADVICE:
                    advise(text)
            exit_code = process.wait()
        except BaseException:
            process.kill()
            process.wait()  # or it would go on in a directory that is being removed
            raise
        if exit_code:
            stderr.seek(0)
            raise StageFailed(exit_code, stderr.read())
