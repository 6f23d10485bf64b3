"""OpenAI's own client, without Instructor: what its prompt cache read, call by call.

    python examples/openai_sdk.py

The second question comes behind the same 1,024 tokens and more, and is streamed. What was read of them
stands on its span, `llm_cache.prompt.outcome` and all, and what that saved in `llm_cache.saved.cost`.
"""

from __future__ import annotations

from offline import openai_or_simulated
from openai import OpenAI
from openai.types.chat import ChatCompletionSystemMessageParam

from llm_cache_otel import instrument

MODEL = "gpt-4.1"
CONTRACT = "\n".join(
    f"{number}. The tenant keeps room {number} in the state it was handed over in, and airs it daily."
    for number in range(1, 101)
)
"""What does not change comes first: only what requests begin with alike is cached."""


def main() -> None:
    client = instrument(OpenAI(), name="contracts")
    system: ChatCompletionSystemMessageParam = {"role": "system", "content": CONTRACT}
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[system, {"role": "user", "content": "Who airs room 7?"}],
    )
    print(answer.choices[0].message.content)

    stream = client.chat.completions.create(
        model=MODEL,
        messages=[system, {"role": "user", "content": "In what state is room 12 kept?"}],
        stream=True,
        stream_options={"include_usage": True},  # or OpenAI does not say what a stream took
    )
    for chunk in stream:
        for choice in chunk.choices:
            print(choice.delta.content or "", end="")
        if chunk.usage and chunk.usage.prompt_tokens_details:
            cached = chunk.usage.prompt_tokens_details.cached_tokens
            print(f"\n{cached} of {chunk.usage.prompt_tokens} tokens were cached")


if __name__ == "__main__":
    with openai_or_simulated():
        main()
