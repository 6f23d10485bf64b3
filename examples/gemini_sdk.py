"""Google's own client, without Instructor: what Gemini's implicit cache read of a long text.

python examples/gemini_sdk.py
"""

from __future__ import annotations

from google import genai
from offline import gemini_or_simulated

from llm_cache_otel import instrument

CONTRACT = "\n".join(
    f"{number}. The tenant keeps room {number} in the state it was handed over in, and airs it daily."
    for number in range(1, 201)
)


def main() -> None:
    client = instrument(genai.Client(), name="contracts")
    for question in ("Who airs room 7?", "In what state is room 12 kept?"):
        answer = client.models.generate_content(
            model="gemini-2.5-flash",
            contents=question,
            config={"system_instruction": CONTRACT},
        )
        print(question, answer.text)
        usage = answer.usage_metadata
        if usage is not None:
            cached = usage.cached_content_token_count or 0
            print(f"{cached} of {usage.prompt_token_count} tokens were cached")


if __name__ == "__main__":
    with gemini_or_simulated():
        main()
