"""The decorator that comes with llm-cache-otel: one line to cache a function, and to see what that spares.

    python examples/instructor_cache_decorator.py

Run it twice: the second process hits what the first one stored, and tells the dollars that it had paid.
Entries are on disk, or in Redis where `REDIS_URL` says so.
"""

from __future__ import annotations

import os
from typing import Any

import diskcache
import instructor
from offline import openai_or_simulated
from pydantic import BaseModel

from llm_cache_otel import instructor_cache, instrument


class User(BaseModel):
    name: str
    age: int


def store() -> Any:
    url = os.environ.get("REDIS_URL")
    if not url:
        return diskcache.Cache(".llm-cache")
    import redis

    return redis.Redis.from_url(url, socket_timeout=0.5)


def main() -> None:
    client = instrument(instructor.from_provider("openai/gpt-4.1-mini"))  # for dollars

    @instructor_cache(store(), ttl=3600)
    def extract(text: str, *, language: str = "English") -> User:
        prompt = f"{text}. Answer in {language}."
        return client.create(response_model=User, messages=[{"role": "user", "content": prompt}])

    for text in ("Ada is 36 years old", "Alan is 41 years old", "Ada is 36 years old"):
        print(f"{text!r} -> {extract(text)!r}")


if __name__ == "__main__":
    with openai_or_simulated():
        main()
