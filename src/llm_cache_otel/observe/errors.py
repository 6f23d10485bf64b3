"""Names exceptions without quoting them: their messages carry prompts and completions."""

from __future__ import annotations

import builtins

from tenacity import RetryError

from llm_cache_otel.observe.instructor_api import InstructorRetryException
from llm_cache_otel.outside import is_the_hosts

_WRAPPERS = (InstructorRetryException, RetryError)
_DEEPEST = 8


def is_closing(error: BaseException | None) -> bool:
    """Whether a coroutine or a generator is closed, perhaps by a finalizer.

    What is closed may make an error of its own of that, as redis-py does where its loop is gone.
    """
    for _ in range(_DEEPEST):
        if error is None or isinstance(error, GeneratorExit):
            break
        error = error.__context__
    return isinstance(error, GeneratorExit)


def is_interrupt(error: BaseException | None) -> bool:
    """Whether it says nothing of what it struck: a cancellation, say, or a time limit of the program's."""
    return error is not None and is_the_hosts(error)


def error_type(error: BaseException) -> str:
    """The class of `error`, qualified unless it is a builtin.

    What Instructor's and tenacity's retrying wraps is named instead of the wrapper: `RetryError` says
    nothing that the number of attempts does not.
    """
    for _ in range(_DEEPEST):  # causes may go round in a circle
        if not isinstance(error, _WRAPPERS) or error.__cause__ is None:
            break
        error = error.__cause__
    kind = type(error)
    if kind.__module__ == builtins.__name__:
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
