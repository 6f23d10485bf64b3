"""Notes what is read of an answer as it is now, to be read when nobody waits.

Instructor overwrites what an answer reports with running totals, and a program may do what it likes with it.
"""

from __future__ import annotations

from typing import Any

from llm_cache_otel.observe.reported import HOLDERS, NAMES, fields_of
from llm_cache_otel.observe.snapshot import SCALARS

_OF_SEVERAL = "automatic_function_calling_history"
_NAMES = frozenset(NAMES) - {_OF_SEVERAL}
_HOLDERS = frozenset(HOLDERS)
_SEVERAL = frozenset({"choices", "candidates"})
_DEEPEST = 3
_MOST = 64
"""Values of a mapping, and answers."""


def noted_answer(fields: dict[str, Any]) -> dict[str, Any] | None:
    """The same to `inference_response` as the answer's fields; `None` unless they are as most are.

    Of an answer that reports nothing, nothing need be put off.
    """
    noted: dict[str, Any] = {}
    if fields.get(_OF_SEVERAL):
        return None  # which is asked of the answer itself
    for name in _NAMES.intersection(fields):
        value = fields[name]
        if value is None:
            continue
        if type(value) not in SCALARS:
            if name in _HOLDERS:
                value = _copied(value, _DEEPEST)
            elif name in _SEVERAL:
                value = _reasons(value)
            else:
                return None
            if not value:
                return None
        noted[name] = value
    return None if _HOLDERS.isdisjoint(noted) else noted


def _copied(value: Any, depth: int) -> dict[str, Any] | None:
    """What is reported, made of nothing but mappings."""
    fields = fields_of(value)
    if not isinstance(fields, dict) or len(fields) > _MOST:
        return None
    copied = fields.copy()
    if not SCALARS.issuperset(map(type, copied.values())):
        for name, item in copied.items():
            if type(item) not in SCALARS:
                inner = _copied(item, depth - 1) if depth else None
                if inner is None:
                    return None
                copied[name] = inner
    return copied


def _reasons(answers: Any) -> list[dict[str, Any]] | None:
    if type(answers) is not list or len(answers) > _MOST:
        return None
    noted = []
    for each in answers:
        fields = fields_of(each)
        reason, other = fields.get("finish_reason"), fields.get("stop_reason")
        if type(reason) not in SCALARS or type(other) not in SCALARS:
            return None
        noted.append({"finish_reason": reason, "stop_reason": other})
    return noted
