"""A decorator of one's own that keeps answers in diskcache, made visible. Run it twice: then all are hits.

python examples/diskcache_decorator.py
"""

import functools
from collections.abc import Callable

import diskcache
import instructor
from offline import openai_or_simulated
from pydantic import BaseModel

from llm_cache_otel import instrument


class User(BaseModel):
    name: str
    age: int


cache = instrument(diskcache.Cache(".llm-cache"))  # the store


def kept_on_disk(function: Callable[[str], User]) -> Callable[[str], User]:
    @functools.wraps(function)
    def keeping(text: str) -> User:
        key = f"{function.__qualname__}:{text}"
        if (entry := cache.get(key)) is not None:
            return User.model_validate_json(entry)
        cache.set(key, (user := function(text)).model_dump_json(), expire=3600)
        return user

    return keeping


def main() -> None:
    client = instrument(instructor.from_provider("openai/gpt-4.1-mini"))  # for dollars

    @instrument  # the function
    @kept_on_disk
    def extract(text: str) -> User:
        return client.create(response_model=User, messages=[{"role": "user", "content": text}])

    print([extract(text) for text in ("Ada is 36 years old", "Alan is 41", "Ada is 36 years old")])


if __name__ == "__main__":
    with openai_or_simulated():
        main()
