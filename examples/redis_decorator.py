"""A function behind a decorator over Redis: run it twice, and the second process finds all in the cache.

redis-server & python examples/redis_decorator.py
"""

import functools
import os
from collections.abc import Callable

import instructor
import redis
from offline import openai_or_simulated
from pydantic import BaseModel

from llm_cache_otel import instrument

cache = instrument(
    redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost"))
)  # the store


class User(BaseModel):
    name: str
    age: int


def kept_in_redis(function: Callable[[str], User]) -> Callable[[str], User]:
    @functools.wraps(function)
    def keeping(text: str) -> User:
        key = f"{function.__qualname__}:{text}"
        if (entry := cache.get(key)) is not None:
            return User.model_validate_json(entry)
        cache.set(key, (user := function(text)).model_dump_json(), ex=3600)
        return user

    return keeping


def main() -> None:
    client = instrument(instructor.from_provider("openai/gpt-4.1-mini"))  # for dollars

    @instrument  # the function
    @kept_in_redis
    def extract(text: str) -> User:
        return client.create(response_model=User, messages=[{"role": "user", "content": text}])

    print([extract(text) for text in ("Ada is 36 years old", "Alan is 41", "Ada is 36 years old")])


if __name__ == "__main__":
    with openai_or_simulated():
        main()
