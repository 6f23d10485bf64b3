"""Traces as trees. Nothing is shown that is not in the spans that are handed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from llm_cache_otel.cli.received import Attributes, ReceivedSpan
from llm_cache_otel.cli.wording import dollars, duration, listed, plain
from llm_cache_otel.emit import names
from llm_cache_otel.facts import Outcome, PromptOutcome

OUTCOME_STYLES: Mapping[str, str] = {
    Outcome.HIT.value: "green",
    PromptOutcome.READ.value: "green",
    Outcome.MISS.value: "yellow",
    Outcome.ERROR.value: "red",
}

_GUIDE = 4
"""Columns that a `Tree` takes for each level."""

_LONGEST_NAME = 40
"""Columns; what is longer is cut off, to leave room for attributes."""

_SHOWN = (
    *(names.OUTCOME, names.REASON, names.PROMPT_OUTCOME, names.PROMPT_REASON),
    *(names.PROMPT_EXPECTED, names.BYPASS_PART, names.ERROR_TYPE, names.PARSE_ERROR_TYPE),
    *(names.SAVED_COST, names.SPENT_COST, names.WRITE_PREMIUM_COST),
    *(names.HIT, names.BACKEND, names.NAME, names.KEY_DURATION, names.ENTRY_SIZE, names.TTL),
    names.ATTEMPTS,
    *(names.GEN_AI_USAGE_INPUT, names.GEN_AI_USAGE_CACHE_READ, names.GEN_AI_USAGE_CACHE_WRITE),
    names.GEN_AI_USAGE_OUTPUT,
    names.SAVED_DURATION,
    *(names.GEN_AI_PROVIDER_NAME, names.GEN_AI_RESPONSE_MODEL),
)
"""Attributes, the most telling first."""

_COSTS = (names.SAVED_COST, names.SPENT_COST, names.WRITE_PREMIUM_COST)

_Children = Mapping[str | None, Sequence[ReceivedSpan]]


def trace_trees(
    traces: Sequence[Sequence[ReceivedSpan]], *, one_line: bool = False
) -> list[RenderableType]:
    """The spans of each trace as a tree, in the order they began in, with durations.

    A span whose parent was not received stands at the top. The trees' columns are aligned. A span
    takes as many lines as its attributes need, or `one_line` with what fits; and one for where it differs
    from an earlier one.
    """
    trees = [_children(spans) for spans in traces]
    width = max((width for tree in trees for width in _widths(None, tree, 0)), default=0)
    return [Group(*_branches(None, tree, width, one_line=one_line)) for tree in trees]


def _children(spans: Sequence[ReceivedSpan]) -> _Children:
    received = {span.span_id: span for span in spans}  # each once, though it may have come twice
    children: dict[str | None, list[ReceivedSpan]] = {}
    for span in sorted(received.values(), key=lambda span: span.start_ns):
        parent = span.parent_span_id if span.parent_span_id in received else None
        children.setdefault(parent, []).append(span)
    return children


def _widths(parent: str | None, children: _Children, level: int) -> Iterator[int]:
    for span in children.get(parent, ()):
        yield min(cell_len(plain(span.name)), _LONGEST_NAME) + level * _GUIDE
        yield from _widths(span.span_id, children, level + 1)


def _branches(
    parent: str | None, children: _Children, width: int, *, one_line: bool
) -> Iterator[Tree]:
    for span in children.get(parent, ()):
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=width, no_wrap=True)
        row.add_column(width=9, justify="right", no_wrap=True)
        row.add_column()
        name = Text(plain(span.name), style="red" if span.is_error else "")
        said_below = children.get(span.span_id, ())
        attributes = _attributes(span, said_below)
        if one_line:
            attributes.no_wrap, attributes.overflow = True, "ellipsis"
        row.add_row(name, duration(span.seconds), attributes)
        tree = Tree(row, guide_style="dim")
        below = _branches(span.span_id, children, width - _GUIDE, one_line=one_line)
        tree.children.extend(below)
        yield tree


def _attributes(span: ReceivedSpan, said_below: Sequence[ReceivedSpan]) -> Text:
    """The few that matter and no child repeats, without the prefixes that they have in common."""
    parts: list[Text] = []
    for name in _SHOWN:
        value = span.attributes.get(name)
        if value is None:
            continue
        is_repeated = any(child.attributes.get(name) == value for child in said_below)
        if is_repeated and name != names.OUTCOME:  # each call has one of its own
            continue
        label = name.removeprefix("llm_cache.").removeprefix("gen_ai.").removeprefix("usage.")
        written = _written(name, value)
        style = "red" if name == names.ERROR_TYPE else OUTCOME_STYLES.get(written, "")
        parts.append(Text.assemble((f"{label}=", "dim"), (written, style)))
    lines = [Text("  ").join(parts)]
    where = _where(span.attributes)
    if where:  # on a line of its own: this is what one has to know
        lines.append(Text.assemble(("differs in ", "dim"), where))
    return Text("\n").join(lines)


def _where(attributes: Attributes) -> str:
    """Where a request differs from the earlier one that it is nearest to, as far as that is said."""
    parts = attributes.get(names.DIVERGENCE_PARTS)
    if isinstance(parts, (list, tuple)):
        return listed([plain(part) for part in parts])
    part, message = (
        attributes.get(name) for name in (names.DIVERGENCE_PART, names.DIVERGENCE_MESSAGE)
    )
    offset = attributes.get(names.DIVERGENCE_OFFSET)
    place = plain("" if part is None else part) if message is None else f"message {plain(message)}"
    return place if offset is None else f"{place}, around character {plain(offset)}"


def _written(name: str, value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float() if name in _COSTS:
            return dollars(value)
        case float() if name in (names.KEY_DURATION, names.SAVED_DURATION):
            return duration(value).replace(" ", "")  # a line is broken at any space
        case int() if name == names.ENTRY_SIZE:
            return f"{value:,}B"
        case _:
            return plain(value)
