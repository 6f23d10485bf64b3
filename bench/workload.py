"""The calls that are measured: one response model, one prompt of a common size, instant answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import httpx
import instructor
import openai
from instructor.cache import BaseCache
from pydantic import BaseModel, Field

MODEL = "gpt-5-mini"
_URL = "http://provider.invalid/v1"

Case = Literal["hit", "miss"]
Messages = list[dict[str, str]]


class Person(BaseModel):
    name: str = Field(description="The full name, as the message spells it")
    role: str | None = Field(default=None, description="What they do, if the message says so")


class Ticket(BaseModel):
    """A support request, read out of a customer's message."""

    summary: str = Field(description="One sentence")
    category: Literal["billing", "defect", "question"]
    urgency: int = Field(ge=1, le=5)
    people: list[Person]


ANSWER = Ticket(
    summary="The invoice for March was charged twice and should be refunded before Friday.",
    category="billing",
    urgency=4,
    people=[Person(name="Ada Byron", role="accountant"), Person(name="Charles Babbage")],
)

_INSTRUCTIONS = (
    "You read messages that customers send to our support and fill in a ticket. Name everybody who "
    "is mentioned. Urgency 5 means that the customer can not work; 1 means that it can wait."
)
_MESSAGE = (
    "Hello, I am writing about order {number}. The invoice for March was charged twice to our "
    "card, once on the 3rd and again on the 4th, although Charles Babbage cancelled the second "
    "licence in February. We close our books on Friday, so please refund the second charge before "
    "then, and send a corrected invoice to our accountant, Ada Byron, who will otherwise have to "
    "explain the difference to the auditors. We have been your customers for six years and this "
    "has not happened before. I tried to reach you by telephone twice this morning and was told "
    "to write instead."
)


def messages(number: int, size: int = 0) -> Messages:
    """The prompt for one order; another number is another cache key.

    A `size` in bytes makes the customer go on at length; without one it is somewhat less than a KB.
    """
    text = _MESSAGE.format(number=number)
    if (lacking := size - len(_INSTRUCTIONS) - len(_MESSAGE)) > 0:
        # Whatever the number, it is the same: `bench.load.fill` counts on it.
        more = " " + _MESSAGE.partition(". ")[2]
        text += (more * (lacking // len(more) + 1))[:lacking]
    return [{"role": "system", "content": _INSTRUCTIONS}, {"role": "user", "content": text}]


class Provider:
    """A provider inside the process: answers at once with `answer`, and counts the requests."""

    def __init__(self, answer: BaseModel = ANSWER) -> None:
        self.requests = 0
        self._completion = _completion(answer)

    def client(
        self, cache: BaseCache, prepare: Callable[[openai.OpenAI], object] = lambda _: None
    ) -> instructor.Instructor:
        """A client of this provider; `prepare` is done to the SDK's before Instructor has it."""
        http_client = httpx.Client(transport=httpx.MockTransport(self._respond))
        sdk_client = openai.OpenAI(api_key="none", base_url=_URL, http_client=http_client)
        prepare(sdk_client)
        return instructor.from_openai(sdk_client, cache=cache)

    def async_client(self, cache: BaseCache) -> instructor.AsyncInstructor:
        http_client = httpx.AsyncClient(transport=httpx.MockTransport(self._respond))
        sdk_client = openai.AsyncOpenAI(api_key="none", base_url=_URL, http_client=http_client)
        return instructor.from_openai(sdk_client, cache=cache)

    def _respond(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return httpx.Response(200, json=self._completion)


def ask(client: instructor.Instructor, prompt: Messages, **more: Any) -> Ticket:
    return client.create(
        model=MODEL,
        response_model=Ticket,
        messages=prompt,  # type: ignore[arg-type]
        **more,
    )


async def ask_async(client: instructor.AsyncInstructor, prompt: Messages, **more: Any) -> Ticket:
    return await client.create(
        model=MODEL,
        response_model=Ticket,
        messages=prompt,  # type: ignore[arg-type]
        **more,
    )


def _completion(answer: BaseModel) -> dict[str, Any]:
    """A chat completion that calls the response model's tool with `answer`."""
    function = {"name": type(answer).__name__, "arguments": answer.model_dump_json()}
    call = {"id": "call_1", "type": "function", "function": function}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_750_000_000,
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}],
        "usage": {"prompt_tokens": 310, "completion_tokens": 64, "total_tokens": 374},
    }
