"""Response models and adapters of the tests."""

from __future__ import annotations

from typing import Any

from instructor.cache import BaseCache
from pydantic import BaseModel


class User(BaseModel):
    name: str
    age: int


class City(BaseModel):
    city: str


MESSAGES = [{"role": "user", "content": "Ada is 36 years old"}]


class DictCache(BaseCache):
    """An adapter of a user's own."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.ttls: list[int | None] = []

    def get(self, key: str) -> Any:
        return self.entries.get(key)

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        self.entries[key] = value
        self.ttls.append(ttl)


class FailingCache(DictCache):
    """An adapter whose backend is away, for `get`, `set` or both."""

    def __init__(self, *failing: str) -> None:
        super().__init__()
        self.failing = failing

    def get(self, key: str) -> Any:
        if "get" in self.failing:
            raise ConnectionError("the backend is away")
        return super().get(key)

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        if "set" in self.failing:
            raise ConnectionError("the backend is away")
        super().set(key, value, ttl)


class DuckCache:
    """Looks like a cache, but Instructor ignores it."""

    def get(self, key: str) -> None: ...

    def set(self, key: str, value: Any, ttl: int | None = None) -> None: ...
