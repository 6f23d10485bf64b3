"""Everything that the doctor says."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from llm_cache_otel.cli.doctor.answer import Answer
from llm_cache_otel.cli.doctor.finding import Finding
from llm_cache_otel.cli.doctor.layout import rule, show_hanging, show_labelled
from llm_cache_otel.cli.doctor.resolution import DEFAULT, Setting
from llm_cache_otel.cli.doctor.telemetry import METRIC, SPAN
from llm_cache_otel.emit.pipeline.fallbacks import Signal

_STILL_NOTHING = (
    "Nothing of your program, still? OTEL_* variables count in its own environment: run the doctor there. "
    "A provider that the program sets up goes before them. What has not been sent when a process is killed "
    "is lost; llm_cache_otel.flush() sends it."
)


_LEAST_SKEW = 2.0
"""What is less may be no more than the time that an answer takes, and HTTP's dates in whole seconds."""


def show_versions(console: Console, versions: Mapping[str, str]) -> None:
    text = Text(" ").join(
        Text(f"{name}=={version}", "dim") if version else Text(f"{name}: not installed", "bold red")
        for name, version in versions.items()
    )
    rule(console, "Versions")
    console.print(Padding(text, (0, 0, 1, 2), expand=False))


def show_settings(
    console: Console,
    settings: Mapping[Signal, Sequence[Setting]],
    common: Sequence[Setting],
) -> None:
    """Where signals agree, once for both."""
    rows: dict[Setting, list[str]] = {}
    for signal, ones in settings.items():
        for setting in ones:
            rows.setdefault(setting, []).append(signal)
    labelled = [
        (name if len(signals) == len(settings) else f"{name}, {signals[0]}", setting)
        for name in dict.fromkeys(setting.name for setting in rows)
        for setting, signals in rows.items()
        if setting.name == name
    ]
    rule(console, "Settings")
    show_labelled(
        console,
        [
            (label, setting.value, Text(setting.source, _source_style(setting)))
            for label, setting in (*labelled, *((one.name, one) for one in common))
        ],
    )
    console.print()


def _source_style(setting: Setting) -> str:
    return "dim" if setting.source == DEFAULT else "cyan"


def show_sending(console: Console, signals: Collection[Signal], timeout: float) -> None:
    names = {"traces": "a span", "metrics": "a metric"}
    what = " and ".join(name for signal, name in names.items() if signal in signals).capitalize()
    verb = "is" if len(signals) == 1 else "are"
    rule(console, "Test")
    console.print(f"  {what} {verb} sent, and {timeout:g} s waited for answers.", style="dim")
    console.print()


def show_answers(
    console: Console, answers: Iterable[tuple[Signal, Answer]], skew: float | None
) -> None:
    for signal, answer in answers:
        word, style = ("accepted", "bold green") if answer.accepted else ("failed", "bold red")
        if answer.rejected:
            word, style = "accepted in part", "bold yellow"
        head = Text.assemble(f"{signal:10}", (word, style), f"   {answer.seconds:.2f} s   ")
        said = " ".join(filter(None, (answer.code, answer.message)))
        show_hanging(console, head, Text(said))
    compared = "not compared, no answer bears a date"
    if skew is not None:
        direction = "ahead of" if skew > 0 else "behind"
        compared = f"{abs(skew):,.0f} s {direction} the receiver's"
        if abs(skew) <= _LEAST_SKEW:
            compared = "agrees with the receiver's"
    console.print(f"  this machine's clock: {compared}", style="dim")
    console.print()


def show_findings(console: Console, findings: Iterable[tuple[str, Finding]]) -> None:
    """What keeps things from arriving comes last, nearest to the prompt."""
    about: dict[Finding, list[str]] = {}
    for signal, finding in findings:
        about.setdefault(finding, []).append(signal)
    said = "".join(finding.what + finding.next for finding in about if _settles(finding))
    left = [finding for finding in about if not finding.variable or finding.variable not in said]
    serious = [finding for finding in left if finding.serious]
    others = [finding for finding in left if not finding.serious]
    for title, chosen in ("Worth knowing", others), ("What is wrong", serious):
        if not chosen:
            continue
        rule(console, title)
        for finding in chosen:
            signals = " and ".join(filter(None, dict.fromkeys(about[finding])))
            what = Text(f"{signals}: " if signals else "", "bold")
            what.append(finding.what, "red" if finding.serious else "")
            mark = Text("!  ", "bold red") if finding.serious else Text("-  ", "yellow")
            show_hanging(console, mark, what)
            show_hanging(console, Text("   "), Text(finding.next, "bold"))
            console.print()


def _settles(finding: Finding) -> bool:
    """Whether what it says of a variable makes what else there is to say of that superfluous."""
    return finding.serious and not finding.variable


def show_verdict(
    console: Console, service: str, sent: Collection[Signal], *, arrives: bool
) -> None:
    if not sent and arrives:
        console.print("[bold yellow]Nothing is sent over OTLP, as the settings say.[/]")
    elif arrives:
        names = {"traces": f"the span '{SPAN}'", "metrics": f"the metric {METRIC}"}
        what = " and ".join(name for signal, name in names.items() if signal in sent)
        look_for = f"Look for {what} of service.name {service}."
        console.print(Text.assemble(("Everything was accepted. ", "bold green"), look_for))
        console.print(_STILL_NOTHING, style="dim")
    else:
        console.print("[bold red]Not all arrives.[/] Mend what is wrong, and run the doctor again.")


def show_failure(console: Console, error: Exception) -> None:
    """Where, and not its message, which may quote anything."""
    *_, frame = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frame.filename).name}, line {frame.lineno}"
    console.print(f"The doctor itself failed: {type(error).__name__} in {where}.", markup=False)
