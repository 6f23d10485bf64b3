"""The current context of OpenTelemetry, without the three functions around the variable that holds it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any

from opentelemetry import context as context_api
from opentelemetry.context import Context

_variable: Any = getattr(context_api._RUNTIME_CONTEXT, "_current_context", None)
_is_known = type(_variable) is ContextVar
"""Not where `OTEL_PYTHON_CONTEXT` names a runtime context of somebody else's."""

current_context: Callable[[], Context] = _variable.get if _is_known else context_api.get_current
attach: Callable[[Context], Token[Context]] = _variable.set if _is_known else context_api.attach
reset: Callable[[Token[Context]], None] = _variable.reset if _is_known else context_api.detach
"""As `detach`, but for telling what is wrong: it raises."""
