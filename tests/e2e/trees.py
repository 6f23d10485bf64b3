"""A trace of Jaeger's as a tree of spans."""

from __future__ import annotations

from typing import Any


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def named(trace: dict[str, Any], name: str) -> dict[str, Any]:
    """The only span of that name."""
    (found,) = [span for span in trace["spans"] if span["operationName"] == name]
    return dict(found)


def tree(trace: dict[str, Any]) -> dict[str, Any]:
    """Names by name, from the roots on."""
    ids = {span["spanID"] for span in trace["spans"]}
    children: dict[str | None, list[dict[str, Any]]] = {}
    for span in sorted(trace["spans"], key=lambda span: span["startTime"]):
        (parent,) = [ref["spanID"] for ref in span["references"]] or [None]
        children.setdefault(parent if parent in ids else None, []).append(span)

    def below(parent: str | None) -> dict[str, Any]:
        return {span["operationName"]: below(span["spanID"]) for span in children.get(parent, [])}

    return below(None)
