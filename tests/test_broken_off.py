"""A call that is broken off while its cache is asked, by a time limit say: no fault of the cache's."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis.asyncio
from instructor.cache import AutoCache, BaseCache
from pydantic import BaseModel, field_validator
from support.clients import request_for
from support.models import DictCache
from support.recording import Recording
from support.ways import make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import SimulatedProvider


def told(recording: Recording) -> list[tuple[Any, ...]]:
    """Outcome, reason and error of each kind of call since the last time."""
    return [
        tuple(map(point.attributes.get, ("llm_cache.outcome", "llm_cache.reason", "error.type")))
        for metric, point in recording.raw_points()
        if metric.name == "llm_cache.requests"
    ]


class TimeLimit(Exception):
    """As Celery's soft one."""


class Alarm:
    """A signal that comes when it is set, and raises."""

    is_set = False

    def __call__(self) -> None:
        if self.is_set:
            signal.raise_signal(signal.SIGUSR1)


alarm = Alarm()


class Read(BaseModel):
    """What is broken off while its entry is read back."""

    name: str
    age: int

    @field_validator("name")
    @classmethod
    def check(cls, name: str) -> str:
        alarm()
        return name


class SlowCache(DictCache):
    """What is broken off while it is asked."""

    def get(self, key: str) -> Any:
        alarm()
        return super().get(key)


@pytest.fixture(autouse=True)
def time_limit() -> Iterator[None]:
    def strike(*_: object) -> None:
        raise TimeLimit

    before = signal.signal(signal.SIGUSR1, strike)
    yield
    alarm.is_set = False
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("cache", [AutoCache, DictCache, SlowCache])
def test_it_is_no_error_of_the_caches(
    cache: Callable[[], BaseCache],
    provider: SimulatedProvider,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = instrument(make_client(provider, cache=cache()), **recording.providers)
    request = {**request_for("from_openai"), "response_model": Read}
    answer = client.create(**request)
    recording.clear()
    alarm.is_set = True
    with pytest.raises(TimeLimit):
        client.create(**request)
    assert told(recording) == [("bypass", None, f"{__name__}.TimeLimit")]
    assert not caplog.messages
    alarm.is_set = False
    assert client.create(**request).model_dump() == answer.model_dump()
    assert told(recording) == [("hit", None, None)]
    client.client.close()


def test_a_cancellation_is_not_either(recording: Recording) -> None:
    """Of a function whose caller waits no longer, while its Redis does not answer."""

    async def main() -> None:
        asked, closed = asyncio.Event(), asyncio.Event()

        async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            asked.set()
            await reader.read()
            writer.close()
            await writer.wait_closed()
            closed.set()

        server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        store = instrument(redis.asyncio.Redis(port=port), **recording.providers)

        async def extract(text: str) -> str | None:
            found: str | None = await store.get(text)
            return found

        run = asyncio.create_task(instrument(extract, **recording.providers)("Who is Ada?"))
        await asked.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await store.aclose()
        await closed.wait()
        server.close()

    asyncio.run(main())
    assert told(recording) == [("bypass", None, "asyncio.exceptions.CancelledError")]
