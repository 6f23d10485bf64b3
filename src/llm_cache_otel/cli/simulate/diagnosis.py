"""Anthropic's cache diagnosis: what a request has otherwise than the one that it is to be compared with.

https://platform.claude.com/docs/en/build-with-claude/cache-diagnostics
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from llm_cache_otel.cli.simulate.prompt_cache import tokens

Json = dict[str, Any]

_MOST = 256


class EarlierMessages:
    """What was asked, by the ids of the answers. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bodies: OrderedDict[str, Json] = OrderedDict()

    def diagnose(self, body: Json, message_id: str) -> Json | None:
        """`null` for who does not ask for it, for the first message, and where nothing differs."""
        asked = body.get("diagnostics")
        if not isinstance(asked, dict):
            return None
        with self._lock:
            earlier = self._bodies.get(str(asked.get("previous_message_id")))
            self._bodies[message_id] = body
            if len(self._bodies) > _MOST:
                self._bodies.popitem(last=False)
        if asked.get("previous_message_id") is None:
            return None
        if earlier is None:
            return {"cache_miss_reason": {"type": "previous_message_not_found"}}
        return _difference(earlier, body)


def _difference(earlier: Json, body: Json) -> Json | None:
    for name in ("model", "tools", "system"):
        if earlier.get(name) != body.get(name):
            return _reason(f"{name}_changed", earlier)
    told = earlier["messages"]
    if body["messages"][: len(told)] != told:
        return _reason("messages_changed", earlier)
    return None


def _reason(kind: str, earlier: Json) -> Json:
    missed = tokens(len(str(earlier["messages"])) + len(str(earlier.get("system", ""))))
    return {"cache_miss_reason": {"type": kind, "cache_missed_input_tokens": missed}}
