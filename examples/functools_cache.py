"""A function behind `functools.cache` that asks an LLM: hits, misses and what they spare.

    python examples/functools_cache.py

`@instrument` above `@functools.cache` is the line; that the client is observed too makes dollars known.
"""

from __future__ import annotations

import functools

import instructor
from offline import openai_or_simulated
from pydantic import BaseModel

from llm_cache_otel import instrument


class User(BaseModel):
    name: str
    age: int


def main() -> None:
    client = instrument(instructor.from_provider("openai/gpt-4.1-mini"))

    @instrument
    @functools.cache
    def extract(text: str) -> User:
        return client.create(response_model=User, messages=[{"role": "user", "content": text}])

    for text in ("Ada is 36 years old", "Alan is 41 years old", "Ada is 36 years old"):
        print(f"{text!r} -> {extract(text)!r}")
    print(extract.cache_info())


if __name__ == "__main__":
    with openai_or_simulated():
        main()
