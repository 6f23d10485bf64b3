"""A cached Instructor client, made visible by one line.

    python examples/quickstart.py

Spans and metrics go to the Collector that the standard OTEL_* variables name, by default localhost:4317.
"""

from __future__ import annotations

import instructor
from instructor.cache import AutoCache
from offline import openai_or_simulated
from pydantic import BaseModel

from llm_cache_otel import instrument


class User(BaseModel):
    name: str
    age: int


def main() -> None:
    client = instructor.from_provider("openai/gpt-4.1-mini", cache=AutoCache(maxsize=1000))
    instrument(client)  # this is the line

    for text in ("Ada is 36 years old", "Alan is 41 years old", "Ada is 36 years old"):
        user = client.create(response_model=User, messages=[{"role": "user", "content": text}])
        print(f"{text!r} -> {user!r}")


if __name__ == "__main__":
    with openai_or_simulated():
        main()
