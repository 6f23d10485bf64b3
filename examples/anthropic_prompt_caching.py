"""Anthropic's prompt caching: what is marked with `cache_control` is written once and then read.

    python examples/anthropic_prompt_caching.py

Writing costs a quarter more than plain input (`llm_cache.write_premium.cost`), reading a tenth or less of it
(`llm_cache.saved.cost` with layer `prompt`): worth it from the second question on.
"""

from __future__ import annotations

import instructor
from offline import anthropic_or_simulated
from pydantic import BaseModel

from llm_cache_otel import instrument

CONTRACT = "\n".join(
    f"{number}. The tenant keeps room {number} in the state it was handed over in, and airs it daily."
    for number in range(1, 101)
)


class Answer(BaseModel):
    answer: str
    clause: int


def main() -> None:
    client = instructor.from_provider("anthropic/claude-sonnet-5-5")
    instrument(client, name="contracts")
    marker = {"type": "ephemeral"}  # for five minutes; for an hour with "ttl": "1h", dearer
    for question in ("Who airs room 7?", "In what state is room 12 kept?"):
        answer, message = client.create_with_completion(
            response_model=Answer,
            system=[{"type": "text", "text": CONTRACT, "cache_control": marker}],
            messages=[{"role": "user", "content": question}],
            max_tokens=500,
        )
        usage = message.usage
        print(
            f"{question!r} -> {answer!r}: {usage.cache_creation_input_tokens} tokens were written, "
            f"{usage.cache_read_input_tokens} read"
        )


if __name__ == "__main__":
    with anthropic_or_simulated():
        main()
