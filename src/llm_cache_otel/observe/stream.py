"""Watches streams to their end without changing a chunk.

A stand-in takes the generator's place, and no generator goes around it: asyncio finishes each asynchronous
generator that is dropped in a task of its own, and would finish two, one within the other, at once. A stream
that is dropped runs no code of ours, so a finalizer tells of its end too: `on_end` is called at least once.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Self

import wrapt

from llm_cache_otel.guard import Guard

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
            with inner._self_guard("stream close"):
                inner._self_ended(GeneratorExit())


class _Watched(wrapt.BaseObjectProxy[Any]):
    def __init__(self, stream: Any, guard: Guard, on_end: OnEnd, on_chunk: OnChunk | None) -> None:
        super().__init__(stream)
        self._self_guard = guard
        self._self_on_end = on_end
        self._self_on_chunk = on_chunk
        self._self_dropped = weakref.finalize(self, _end, guard, on_end, None, dropped=True)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def _self_chunk(self, chunk: Any) -> Any:
        if self._self_on_chunk is not None:
            with self._self_guard("stream chunk"):
                self._self_on_chunk(chunk)
        return chunk

    def _self_ended(self, error: BaseException) -> None:
        self._self_dropped.detach()
        is_over = isinstance(error, (StopIteration, StopAsyncIteration))
        is_closed = isinstance(error, GeneratorExit)
        _end(
            self._self_guard,
            self._self_on_end,
            None if is_over or is_closed else error,
            dropped=is_closed,
        )


class _Generator(_Watched):
    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self._self_take(self.__wrapped__.__next__)

    def send(self, value: Any) -> Any:
        return self._self_take(self.__wrapped__.send, value)

    def throw(self, *error: Any) -> Any:
        return self._self_take(self.__wrapped__.throw, *error)

    def _self_take(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            chunk = function(*args)
        except BaseException as error:
            self._self_ended(error)
            raise
        return self._self_chunk(chunk)

    def close(self) -> Any:
        try:
            return self.__wrapped__.close()
        finally:
            self._self_ended(GeneratorExit())


class _AsyncGenerator(_Watched):
    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return await self._self_take(self.__wrapped__.__anext__())

    async def asend(self, value: Any) -> Any:
        return await self._self_take(self.__wrapped__.asend(value))

    async def athrow(self, *error: Any) -> Any:
        return await self._self_take(self.__wrapped__.athrow(*error))

    async def _self_take(self, coming: Any) -> Any:
        try:
            chunk = await coming
        except BaseException as error:
            self._self_ended(error)
            raise
        return self._self_chunk(chunk)

    async def aclose(self) -> None:
        try:
            await self.__wrapped__.aclose()
        finally:
            self._self_ended(GeneratorExit())


def _end(
    guard: Guard, on_end: OnEnd, error: BaseException | None, *, dropped: bool = False
) -> None:
    with guard("stream end"):
        on_end(error, dropped)
