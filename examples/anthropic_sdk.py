"""Anthropic's own client, without Instructor: what is marked with `cache_control` is written, and then read.

    python examples/anthropic_sdk.py

Both questions are streamed, by the SDK's `messages.stream`: nothing is sent, and no span begun, before
the `with`.
"""

from __future__ import annotations

from anthropic import Anthropic
from offline import anthropic_or_simulated

from llm_cache_otel import instrument

CONTRACT = "\n".join(
    f"{number}. The tenant keeps room {number} in the state it was handed over in, and airs it daily."
    for number in range(1, 101)
)


def main() -> None:
    client = instrument(Anthropic(), name="contracts")
    for question in ("Who airs room 7?", "In what state is room 12 kept?"):
        with client.messages.stream(
            model="claude-sonnet-5-5",
            max_tokens=500,
            system=[{"type": "text", "text": CONTRACT, "cache_control": {"type": "ephemeral"}}],
            messages=[{"role": "user", "content": question}],
        ) as stream:
            print(question, stream.get_final_text())
            usage = stream.get_final_message().usage
        print(
            f"{usage.cache_creation_input_tokens} tokens were written, "
            f"{usage.cache_read_input_tokens} read"
        )


if __name__ == "__main__":
    with anthropic_or_simulated():
        main()
