"""The same for an async client: one line, whichever kind.

python examples/quickstart_async.py
"""

from __future__ import annotations

import asyncio

import instructor
from instructor.cache import AutoCache
from offline import openai_or_simulated
from pydantic import BaseModel

from llm_cache_otel import instrument


class City(BaseModel):
    name: str
    country: str


async def main() -> None:
    client = instrument(
        instructor.from_provider("openai/gpt-4.1-mini", async_client=True, cache=AutoCache()),
        name="cities",  # tells this client's numbers from another's
    )

    async def describe(place: str) -> City:
        question = f"Which city is {place}?"
        return await client.create(
            response_model=City, messages=[{"role": "user", "content": question}]
        )

    for _ in range(2):  # the second time everything comes from the cache
        cities = await asyncio.gather(*(describe(place) for place in ("Paris", "Rome", "Lima")))
        print([city.name for city in cities])


if __name__ == "__main__":
    with openai_or_simulated():
        asyncio.run(main())
