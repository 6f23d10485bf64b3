"""Watches streams to their end without changing a chunk.

A stand-in takes the generator's place, and no generator goes around it: asyncio finishes each asynchronous
generator that is dropped in a task of its own, and would finish two, one within the other, at once. A stream
that is dropped runs no code of ours, so a finalizer tells of its end too: `on_end` is called at least once.
Of one that is held until the process ends it is called then, while there is somebody to tell.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Self

from llm_cache_otel.guard import Guard
from llm_cache_otel.later import later

OnChunk = Callable[[Any], None]
OnEnd = Callable[[BaseException | None, bool], None]
"""Takes the error that ended the stream, if one did, and whether the stream was closed or dropped: then
it may be the garbage collector that calls."""


_GENERATORS = ("_iterator", "generator")
"""Where SDKs keep it: those that Stainless generates (openai, anthropic, …), and Speakeasy (mistralai)."""


GENERATORS = GeneratorType, AsyncGeneratorType


def watch_generator(
    stream: Any, guard: Guard, on_end: OnEnd, on_chunk: OnChunk | None = None
) -> Any:
    """A stand-in for `stream`, a (async) generator; to everybody who asks, that generator."""
    kind = _AsyncGenerator if inspect.isasyncgen(stream) else _Generator
    return kind(stream, guard, on_end, on_chunk)


def watch_in_place(stream: Any, guard: Guard, on_end: OnEnd, on_chunk: OnChunk) -> bool:
    """Watch an SDK's stream object from inside, for users and Instructor check its type.

    `False`, and nothing done, for anything that keeps no generator where SDKs do.
    """
    for name in _GENERATORS:
        inner = getattr(stream, name, None)
        if isinstance(inner, GENERATORS):
            setattr(stream, name, watch_generator(inner, guard, on_end, on_chunk))
            return True
    return False


def host_closed(stream: Any) -> None:
    """Note that an SDK's stream is closed, which its generator need not be: it is only dropped with it."""
    for holder in (stream, getattr(stream, "_raw_stream", None)):
        inner: Any = getattr(holder, "__dict__", {}).get("_iterator")
        if issubclass(type(inner), _Watched):
            with inner._guard("stream close"):
                inner._ended(GeneratorExit())


_held: weakref.WeakSet[_Watched] = weakref.WeakSet()


class _Watched:
    """Nothing of it can be asked that a generator could not be: `wrapt`'s proxies have a length, and more."""

    __slots__ = ("__weakref__", "_dropped", "_guard", "_on_chunk", "_on_end", "_stream")

    def __init__(self, stream: Any, guard: Guard, on_end: OnEnd, on_chunk: OnChunk | None) -> None:
        self._stream = stream
        self._guard = guard
        self._on_end = on_end
        self._on_chunk = on_chunk
        self._dropped = weakref.finalize(self, _end, guard, on_end, None, dropped=True)
        _held.add(self)

    @property  # type: ignore[misc]  # which everything has, and anybody may read
    def __class__(self) -> Any:
        return self._stream.__class__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._stream.__reduce_ex__(protocol)  # which says why not

    def __repr__(self) -> str:
        return repr(self._stream)

    def _chunk(self, chunk: Any) -> Any:
        if self._on_chunk is not None:
            with self._guard("stream chunk"):
                self._on_chunk(chunk)
        return chunk

    def _ended(self, error: BaseException) -> None:
        self._dropped.detach()
        is_over = isinstance(error, (StopIteration, StopAsyncIteration))
        is_closed = isinstance(error, GeneratorExit)
        _end(
            self._guard,
            self._on_end,
            None if is_over or is_closed else error,
            dropped=is_closed,
        )


class _Generator(_Watched):
    __slots__ = ()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self._take(self._stream.__next__)

    def send(self, value: Any) -> Any:
        return self._take(self._stream.send, value)

    def throw(self, *error: Any) -> Any:
        return self._take(self._stream.throw, *error)

    def _take(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            chunk = function(*args)
        except BaseException as error:
            self._ended(error)
            raise
        return self._chunk(chunk)

    def close(self) -> Any:
        try:
            return self._stream.close()
        finally:
            self._ended(GeneratorExit())


class _AsyncGenerator(_Watched):
    __slots__ = ()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return await self._take(self._stream.__anext__())

    async def asend(self, value: Any) -> Any:
        return await self._take(self._stream.asend(value))

    async def athrow(self, *error: Any) -> Any:
        return await self._take(self._stream.athrow(*error))

    async def _take(self, coming: Any) -> Any:
        try:
            chunk = await coming
        except BaseException as error:
            self._ended(error)
            raise
        return self._chunk(chunk)

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._ended(GeneratorExit())


def _end(
    guard: Guard, on_end: OnEnd, error: BaseException | None, *, dropped: bool = False
) -> None:
    with guard("stream end"):
        on_end(error, dropped)


def _drop_held() -> None:
    for stream in list(_held):
        stream._dropped()


later.first_at_exit(_drop_held)
