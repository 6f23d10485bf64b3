"""OpenAI's prompt caching through the Responses API: one long text, two questions.

    python examples/openai_prompt_caching.py

The second question comes behind the same 1,024 tokens and more, and OpenAI charges less for these. How many
they were, what that saved and what it cost stands on the spans, and in `llm_cache.saved.cost` with layer
`prompt`.
"""

from __future__ import annotations

import instructor
from offline import openai_or_simulated
from pydantic import BaseModel

from llm_cache_otel import instrument

CONTRACT = "\n".join(
    f"{number}. The tenant keeps room {number} in the state it was handed over in, and airs it daily."
    for number in range(1, 101)
)
"""What does not change comes first: only what requests begin with alike is cached."""


class Answer(BaseModel):
    answer: str
    clause: int


def main() -> None:
    client = instructor.from_provider("openai/gpt-4.1", mode=instructor.Mode.RESPONSES_TOOLS)
    instrument(client, name="contracts")
    for question in ("Who airs room 7?", "In what state is room 12 kept?"):
        answer, response = client.responses.create_with_completion(
            response_model=Answer,
            input=[
                {"role": "system", "content": CONTRACT},
                {"role": "user", "content": question},
            ],
            prompt_cache_key="contracts",  # requests with the same key go where the prefix is
            prompt_cache_retention="24h",  # or minutes; not every model has it
        )
        usage = response.usage
        cached = usage.input_tokens_details.cached_tokens
        print(f"{question!r} -> {answer!r}: {cached} of {usage.input_tokens} tokens were cached")


if __name__ == "__main__":
    with openai_or_simulated():
        main()
