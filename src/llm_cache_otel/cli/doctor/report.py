"""Everything that the doctor says."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llm_cache_otel.cli.doctor.answer import Answer
from llm_cache_otel.cli.doctor.finding import Finding
from llm_cache_otel.cli.doctor.resolution import DEFAULT, Setting
from llm_cache_otel.cli.doctor.telemetry import METRIC, SPAN
from llm_cache_otel.emit.pipeline.fallbacks import Signal

_STILL_NOTHING = (
    "Nothing of your program, still? OTEL_* variables count in its own environment: run the doctor there. "
    "A provider that the program sets up goes before them. What has not been sent when a process is killed "
    "is lost; llm_cache_otel.flush() sends it."
)


def show_versions(console: Console, versions: Mapping[str, str]) -> None:
    text = Text(" ").join(
        Text(f"{name}=={version}", "dim") if version else Text(f"{name}: not installed", "bold red")
        for name, version in versions.items()
    )
    _section(console, "Versions", text)


def show_settings(
    console: Console,
    settings: Mapping[Signal, Sequence[Setting]],
    service: Setting,
) -> None:
    """Where signals agree, once for both."""
    table = Table.grid(padding=(0, 3, 0, 0))
    rows: dict[Setting, list[str]] = {}
    for signal, ones in settings.items():
        for setting in ones:
            rows.setdefault(setting, []).append(signal)
    names = list(dict.fromkeys(setting.name for setting in rows))
    for name in names:
        for setting, signals in rows.items():
            if setting.name == name:
                label = name if len(signals) == len(settings) else f"{name}, {signals[0]}"
                _add(table, label, setting)
    _add(table, service.name, service)
    _section(console, "Settings", table)


def _add(table: Table, label: str, setting: Setting) -> None:
    table.add_row(
        label,
        Text(setting.value, overflow="fold"),
        Text(setting.source, "dim" if setting.source == DEFAULT else "cyan", overflow="fold"),
    )


def show_sending(console: Console, timeout: float) -> None:
    _rule(console, "Test")
    console.print(
        f"  A span and a metric are sent, and {timeout:g} s waited for answers.", style="dim"
    )


def show_answers(
    console: Console, answers: Iterable[tuple[Signal, Answer]], skew: float | None
) -> None:
    table = Table.grid(padding=(0, 3, 0, 0))
    for signal, answer in answers:
        word, style = ("accepted", "bold green") if answer.accepted else ("failed", "bold red")
        if answer.rejected:
            word, style = "accepted in part", "bold yellow"
        said = " ".join(filter(None, (answer.code, answer.message)))
        table.add_row(
            signal, Text(word, style), f"{answer.seconds:.2f} s", Text(said, overflow="fold")
        )
    compared = "not compared, no answer bears a date"
    if skew is not None:
        compared = f"{abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} the receiver's"
    console.print(Padding(table, (1, 0, 0, 2), expand=False))
    console.print(Padding(f"this machine's clock: {compared}", (0, 0, 1, 2), style="dim"))


def show_findings(console: Console, findings: Iterable[tuple[str, Finding]]) -> None:
    """What keeps things from arriving comes last, nearest to the prompt."""
    about: dict[Finding, list[str]] = {}
    for signal, finding in findings:
        about.setdefault(finding, []).append(signal)
    said = "".join(finding.what + finding.next for finding in about if not finding.variable)
    left = [finding for finding in about if not finding.variable or finding.variable not in said]
    serious = [finding for finding in left if finding.serious]
    others = [finding for finding in left if not finding.serious]
    for title, chosen in ("Worth knowing", others), ("What is wrong", serious):
        if not chosen:
            continue
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        for finding in chosen:
            signals = " and ".join(filter(None, dict.fromkeys(about[finding])))
            what = Text(f"{signals}: " if signals else "", "bold")
            what.append(finding.what, "red" if finding.serious else "")
            mark = Text("!", "bold red") if finding.serious else Text("-", "yellow")
            table.add_row(mark, what)
            table.add_row("", Text(finding.next, "bold"))
            table.add_row("", "")
        _section(console, title, table, below=0)


def show_verdict(console: Console, service: str, *, arrives: bool, tested: bool) -> None:
    if not tested and arrives:
        console.print("[bold yellow]Nothing is sent over OTLP, as the settings say.[/]")
    elif arrives:
        look_for = f"Look for the span '{SPAN}' and the metric {METRIC} of service.name {service}."
        console.print(Text.assemble(("Everything was accepted. ", "bold green"), look_for))
        console.print(_STILL_NOTHING, style="dim")
    else:
        console.print("[bold red]Not all arrives.[/] Mend what is wrong, and run the doctor again.")


def show_failure(console: Console, error: Exception) -> None:
    """Where, and not its message, which may quote anything."""
    *_, frame = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frame.filename).name}, line {frame.lineno}"
    console.print(f"The doctor itself failed: {type(error).__name__} in {where}.", markup=False)


def _section(console: Console, title: str, content: Table | Text, *, below: int = 1) -> None:
    _rule(console, title)
    console.print(Padding(content, (0, 0, below, 2), expand=False))


def _rule(console: Console, title: str) -> None:
    console.rule(f"[bold]{title}[/]", align="left", style="dim")
