"""Each way to call, sync and async, in each situation: the whole span tree and every data point."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
import instructor
import pytest
from instructor.cache import AutoCache
from support.models import City, DictCache, DuckCache, FailingCache, User
from support.recording import Recording
from support.versions import (
    lazy_iterables,
    max_retries,
    namespace,
    since_keys_can_fail,
    since_namespaces,
    since_only_base_caches,
    since_parallel_tools,
)
from support.ways import STREAMED, WAYS, call, closing, make_client, mode_for
from syrupy.assertion import SnapshotAssertion

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.observe import instructor_api

ALL = tuple(WAYS)
ANSWERED = tuple(way for way in WAYS if way not in STREAMED)
CHAT = tuple(way for way in ANSWERED if not way.startswith("responses"))


@dataclass(frozen=True)
class Situation:
    """What is set up before the one call whose telemetry is compared."""

    ways: tuple[str, ...]
    cache: Callable[[], Any] = AutoCache
    cues: tuple[Cue, ...] = ()
    warm_ups: int = 0
    spoil: Callable[[Any], None] | None = None
    raises: type[BaseException] | None = None
    call: dict[str, Any] = field(default_factory=dict)
    mode: instructor.Mode | None = None
    own_namespace: bool = False
    mark: pytest.MarkDecorator | None = None


def _corrupt(cache: DictCache) -> None:
    for key in cache.entries:
        cache.entries[key] = '{"model": "{}", "raw": null}'


RETRIED = instructor_api.InstructorRetryException
ONE_ATTEMPT = {"max_retries": max_retries(attempts=1)}
SITUATIONS = {
    "off": Situation(ALL, cache=lambda: None),
    "hit": Situation(ANSWERED, warm_ups=1),
    "miss": Situation(ANSWERED),
    "miss, second attempt": Situation(CHAT, cues=(Cue(answer={}),)),
    "miss, own adapter with ttl": Situation(
        ANSWERED, cache=DictCache, call={"cache_ttl": 60, **namespace("tests")}
    ),
    "miss, own namespace": Situation(ANSWERED, own_namespace=True, mark=since_namespaces),
    "miss, provider fails": Situation(
        ANSWERED, cues=(Cue(status=500),), call=ONE_ATTEMPT, raises=RETRIED
    ),
    "miss, never valid": Situation(
        CHAT,
        cues=(Cue(answer={}), Cue(answer={})),
        call={"max_retries": max_retries(attempts=2)},
        raises=RETRIED,
    ),
    "miss, set fails": Situation(
        ANSWERED, cache=lambda: FailingCache("set"), raises=ConnectionError
    ),
    "error, backend_unavailable": Situation(
        ALL, cache=lambda: FailingCache("get"), raises=ConnectionError
    ),
    "error, entry_invalid": Situation(
        ANSWERED, cache=DictCache, warm_ups=1, spoil=_corrupt, raises=ValueError
    ),
    "bypass, not_a_cache": Situation(ALL, cache=DuckCache, mark=since_only_base_caches),
    "bypass, unserializable_request": Situation(
        ALL, call={"timeout": httpx.Timeout(30.0)}, mark=since_keys_can_fail
    ),
    "bypass, streaming": Situation(STREAMED),
    "bypass, streaming, provider fails": Situation(
        STREAMED, cues=(Cue(status=500),), call=ONE_ATTEMPT, raises=RETRIED
    ),
    "bypass, streaming, broken off": Situation(
        ("create_iterable",),
        cues=(Cue(break_after=3),),
        raises=httpx.RemoteProtocolError,
        mark=lazy_iterables,
    ),
    "bypass, not_a_model": Situation(
        ("create", "chat.completions.create"), call={"response_model": list[User]}
    ),
    "bypass, not_a_model, int": Situation(("create",), call={"response_model": int}),
    "bypass, not_a_model, provider fails": Situation(
        ("create",),
        call={"response_model": int, **ONE_ATTEMPT},
        cues=(Cue(status=500),),
        raises=RETRIED,
    ),
    "bypass, no_response_model": Situation(
        ("create", "chat.completions.create"), call={"response_model": None}
    ),
    "bypass, parallel_tools": Situation(
        ("create",),
        mode=instructor.Mode.PARALLEL_TOOLS,
        call={"response_model": Iterable[User | City]},
        mark=since_parallel_tools,
    ),
}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("way", "situation"),
    [
        pytest.param(way, name, marks=[situation.mark] if situation.mark else [])
        for name, situation in SITUATIONS.items()
        for way in situation.ways
    ],
)
def test_the_span_tree_and_every_data_point(
    way: str,
    situation: str,
    asynchronous: bool,
    provider: SimulatedProvider,
    recording: Recording,
    snapshot: SnapshotAssertion,
) -> None:
    chosen = SITUATIONS[situation]
    cache = chosen.cache()

    async def run() -> None:
        client = make_client(
            provider,
            asynchronous=asynchronous,
            mode=chosen.mode or mode_for(way),
            **({} if cache is None else {"cache": cache}),
            **({} if cache is None or chosen.own_namespace else namespace("tests")),
        )
        assert instrument(client, name="tests", **recording.providers) is client
        async with closing(client):
            for _ in range(chosen.warm_ups):
                provider.cues.add(Cue(delay=0.2))  # so that a hit saves time however noisy it is
                await call(client, way, **chosen.call)
            if chosen.spoil is not None:
                chosen.spoil(cache)
            recording.clear()
            provider.cues.add(*chosen.cues)
            if chosen.raises is None:
                await call(client, way, **chosen.call)
            else:
                with pytest.raises(chosen.raises):
                    await call(client, way, **chosen.call)

    asyncio.run(run())
    assert [*recording.tree(), "", *recording.points()] == snapshot
