"""Watches streams to their end without changing a chunk.

A stream that is dropped before its first chunk runs no code at all, so a finalizer tells of its end
too: `on_end` is called at least once.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from llm_cache_otel.guard import Guard
from llm_cache_otel.observe.sdk import declared

OnChunk = Callable[[Any], None]
OnEnd = Callable[[BaseException | None, bool], None]
"""Takes the error that ended the stream, if one did, and whether the stream was closed or dropped: then
it may be the garbage collector that calls."""


def is_generator(result: object) -> bool:
    return inspect.isgenerator(result) or inspect.isasyncgen(result)


def watch_generator(
    stream: Any, guard: Guard, on_end: OnEnd, on_chunk: OnChunk | None = None
) -> Any:
    """A generator of the same kind and name that delegates to `stream`, a (async) generator."""
    watched: Any
    if inspect.isasyncgen(stream):
        watched = _async(stream, guard, on_end, on_chunk)
    else:
        watched = _sync(stream, guard, on_end, on_chunk)
    watched.__name__ = stream.__name__
    watched.__qualname__ = stream.__qualname__
    weakref.finalize(watched, _end, guard, on_end, None, dropped=True)
    return watched


def watch_in_place(stream: Any, guard: Guard, on_end: OnEnd, on_chunk: OnChunk) -> bool:
    """Watch an SDK's stream object from inside, for users and Instructor check its type.

    The SDKs that Stainless generates (openai, anthropic, groq, …) keep a generator in `_iterator`, the
    newest of them from when it is first asked for. `False`, and nothing done, for anything that is not made
    that way.
    """
    inner = declared(stream, "_iterator")
    if not is_generator(inner):
        return False
    stream._iterator = watch_generator(inner, guard, on_end, on_chunk)
    return True


def _sync(
    stream: Generator[Any, Any, Any], guard: Guard, on_end: OnEnd, on_chunk: OnChunk | None
) -> Generator[Any, Any, Any]:
    try:
        result = yield from (stream if on_chunk is None else _noting(stream, guard, on_chunk))
    except GeneratorExit:
        _end(guard, on_end, None, dropped=True)
        raise
    except BaseException as error:
        _end(guard, on_end, error)
        raise
    _end(guard, on_end, None)
    return result


def _noting(
    stream: Generator[Any, Any, Any], guard: Guard, on_chunk: OnChunk
) -> Generator[Any, Any, Any]:
    """`yield from stream`, with a look at each chunk."""
    try:
        chunk = next(stream)
        while True:
            with guard("stream chunk"):
                on_chunk(chunk)
            try:
                sent = yield chunk
            except GeneratorExit:
                stream.close()
                raise
            except BaseException as error:
                chunk = stream.throw(error)
            else:
                chunk = stream.send(sent)
    except StopIteration as end:
        return end.value


async def _async(
    stream: AsyncGenerator[Any, Any], guard: Guard, on_end: OnEnd, on_chunk: OnChunk | None
) -> AsyncGenerator[Any, Any]:
    try:
        chunk = await anext(stream)
        while True:
            if on_chunk is not None:
                with guard("stream chunk"):
                    on_chunk(chunk)
            try:
                sent = yield chunk
            except GeneratorExit:
                raise
            except BaseException as error:
                chunk = await stream.athrow(error)
            else:
                chunk = await stream.asend(sent)
    except StopAsyncIteration:
        _end(guard, on_end, None)
    except GeneratorExit:
        _end(guard, on_end, None, dropped=True)
        raise
    except BaseException as error:
        _end(guard, on_end, error)
        raise
    finally:
        await stream.aclose()


def _end(
    guard: Guard, on_end: OnEnd, error: BaseException | None, *, dropped: bool = False
) -> None:
    with guard("stream end"):
        on_end(error, dropped)
