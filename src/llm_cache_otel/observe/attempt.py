"""One try to get an answer of the provider: the SDK's call, up to the last chunk of a stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import wrapt

from llm_cache_otel.facts import (
    AttemptFacts,
    InferenceRequest,
    InferenceResponse,
    Interval,
    Neighbour,
    SentPrompt,
    SpanRole,
)
from llm_cache_otel.observe import answers, sdk
from llm_cache_otel.observe.errors import error_type, is_closing
from llm_cache_otel.observe.inference_response import inference_response, merged, reports_all
from llm_cache_otel.observe.neighbours import neighbours_of
from llm_cache_otel.observe.noted_answer import noted_answer
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.reported import fields_of
from llm_cache_otel.observe.sent_prompt import prompt_space, sent_prompt
from llm_cache_otel.observe.snapshot import Unread
from llm_cache_otel.observe.step import ANY_CLIENT, Observing, Surroundings, observe
from llm_cache_otel.observe.stream import GENERATORS, watch_generator, watch_in_place

if TYPE_CHECKING:
    from llm_cache_otel.observe.call import Call


class Attempt(Surroundings):
    """Observes one run of the function that reaches the SDK, and is what is current meanwhile.

    `asks` is whom it asks, as in `Surroundings`.
    """

    is_streaming = False
    _reported_all = False
    _is_of_several = False
    _response = InferenceResponse()
    _answer: dict[str, Any] | None = None
    """In place of `_response`, until that is needed."""

    _prompt: SentPrompt | Unread[SentPrompt | None] | None = None
    _end_ns: int | None = None
    _error_type: str | None = None
    _parse_error_type: str | None = None

    def __init__(
        self,
        call: Call,
        function: Any,
        request: Mapping[str, Any],
        *,
        asks: int | None = ANY_CLIENT,
    ) -> None:
        super().__init__(asks=asks)
        self._call: Call | None = call
        self._guard = guard = call.reporter.guard
        self._start_ns = start_ns = call.offset + time.perf_counter_ns()
        self._kwargs = request
        self._client = client = call.sdk()
        neighbours: tuple[Neighbour, ...] = ()
        # What the SDK's client makes of being asked must not cost the attempt.
        if client is None:
            with guard("client"):
                self._client = client = sdk.bound_client(function)
        try:
            asked = sdk.inference_request(call.provider, client, request)
        except Exception as error:
            if not guard.swallows("request", error):
                raise
            asked = InferenceRequest("chat", call.provider, call.model)
        self._request = asked
        try:
            neighbours = neighbours_of(client, function)
        except Exception as error:
            if not guard.swallows("neighbours", error):
                raise
        opening = SpanRole.ATTEMPT, start_ns, None, None, asked
        self.scope = call.reporter.open_attempt(opening, neighbours, call.scope)
        call.attempts = (*call.attempts, self)

    def failed(self, error: BaseException) -> None:
        self._ended(error, dropped=is_closing(error))

    def returned(self, response: Any) -> Any | None:
        guard = self._guard
        if isinstance(response, GENERATORS):
            self._streams()
            return watch_generator(response, guard, self._ended, self._chunk)
        if self._request.stream and watch_in_place(response, guard, self._ended, self._chunk):
            self._streams()
            return None
        self.heard(response)
        self._ended(None, dropped=False)
        return None

    def _streams(self) -> None:
        """It is asked by now, and what the program does to its messages until the end was not."""
        self.is_streaming = True
        self._read_prompt()

    def heard(self, response: Any) -> None:
        """Note an answer: what becomes of it may still fail."""
        if self._call is None:
            return  # it is told without what comes after its end
        try:
            answer = fields_of(response)
            if not isinstance(answer, dict):
                answer = fields_of(answers.body_of(response))
            self._reported_all = True
            self._answer = noted_answer(answer) if isinstance(answer, dict) else None
            if self._answer is None:
                self._response = inference_response(answer)
                self._is_of_several = answers.is_of_several(answer)
        except Exception as error:
            if not self._guard.swallows("response", error):
                raise

    def could_not_be_parsed(self, error: BaseException) -> None:
        if self._call is not None:
            self._parse_error_type = error_type(error)

    def _chunk(self, event: Any) -> None:
        if self._call is None:
            return  # as `heard`
        chunk = answers.unwrapped(event)
        self._response = merged(self._response, inference_response(chunk))
        self._reported_all = self._reported_all or reports_all(chunk)
        self._is_of_several = self._is_of_several or answers.is_of_several(chunk)

    def _ended(self, error: BaseException | None, dropped: bool) -> None:  # noqa: FBT001  an OnEnd
        self.is_streaming = False
        call = self._call
        if call is None or self._end_ns is not None:
            return
        self._end_ns = call.offset + time.perf_counter_ns()
        self._error_type = None if error is None else error_type(error)
        if self._is_of_several or not self._reported_all:
            self._response = replace(self._response, reported=None)
        if self._answer is None and self._response.reported is None:
            self._prompt = None
        else:
            self._read_prompt()
        self._kwargs, self._client = {}, None
        call.attempt_ended(error, dropped=dropped)

    def _read_prompt(self) -> None:
        """Once the answer is there, or begins: nobody waits for it before."""
        call, request, client = self._call, self._kwargs, self._client
        self._kwargs, self._client = {}, None  # which a stream that is held on to need not hold
        if call is None or not request:
            return
        try:
            if self._is_uncached(call.reporter):
                return
            space = prompt_space(self._request, client, request)
            self._prompt = sent_prompt(space, request, call.reporter.longest_prompt())
        except Exception as error:
            if not self._guard.swallows("prompt", error):
                raise

    def _is_uncached(self, reporter: Reporter) -> bool:
        """Whether nothing is told by the prompt."""
        noted, asked = self._answer, self._request
        if noted is None:
            return False
        models = asked.provider, asked.model, noted.get("model")
        return reporter.is_uncached(models, noted.get("usage"))

    def over(self, call_end_ns: int) -> None:
        """The call has ended: a stream still open then was given up with it."""
        self._end_ns = call_end_ns if self._end_ns is None else min(self._end_ns, call_end_ns)
        self._call = None  # no cycle: a finished call is freed at once

    def facts(self) -> AttemptFacts:
        """Once the call is over, and once: a stream or a context that is held on to need not hold texts."""
        noted, prompt, self._answer, self._prompt = self._answer, self._prompt, None, None
        if noted is not None:
            with self._guard("response"):
                self._response = inference_response(noted)
        if isinstance(prompt, Unread):
            put_off, prompt = prompt, None
            with self._guard("prompt"):
                prompt = put_off.read()
        return AttemptFacts(
            interval=Interval(self._start_ns, self._end_ns or self._start_ns),
            request=self._request,
            response=self._response,
            error_type=self._error_type,
            parse_error_type=self._parse_error_type,
            prompt=None if self._response.reported is None else prompt,
            scope=self.scope,
        )


def observed(call: Call, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with every run of it observed as an attempt of `call`."""

    make = lambda _, kwargs: Attempt(call, function, kwargs)

    def attempt(*args: Any, **kwargs: Any) -> Any:
        return observe(call.reporter.guard, "attempt", make, function, args, kwargs)

    return attempt


def observed_async(call: Call, function: Callable[..., Any]) -> Callable[..., Any]:
    """`observed`, for a function whose result is awaited."""

    async def attempt(*args: Any, **kwargs: Any) -> Any:
        make = partial(Attempt, call, function, kwargs)
        with Observing(call.reporter.guard, "attempt", make) as seen:
            response = await function(*args, **kwargs)
        return seen.returned(response)

    return attempt


class HookTap(wrapt.BaseObjectProxy[Any]):
    """The hooks of a call, and beside them ours: why an answer that arrived could not be used.

    Stands in for the hooks during one call only, so that the user's own object is never changed and
    `client.clear()` takes nothing of ours away.
    """

    def __init__(self, hooks: Any, call: Call) -> None:
        super().__init__(hooks)
        self._self_call = call

    def emit_parse_error(self, error: Exception, **metadata: Any) -> None:
        call = self._self_call
        with call.reporter.guard("hooks"):
            if call.attempts:
                call.attempts[-1].could_not_be_parsed(error)
        self.__wrapped__.emit_parse_error(error, **metadata)
