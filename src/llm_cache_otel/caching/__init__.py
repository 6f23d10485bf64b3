"""A decorator that caches what functions ask LLMs for: the only part of this package that caches anything."""

from llm_cache_otel.caching.decorator import instructor_cache

__all__ = ["instructor_cache"]
