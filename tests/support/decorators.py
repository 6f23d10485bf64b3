"""Decorators over stores, as programs have them: text in, Pydantic model out."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any, get_type_hints

from support.models import User


def key_for(function: Any, *args: Any, **kwargs: Any) -> str:
    asked = repr((args, sorted(kwargs.items())))
    return f"{function.__name__}:{hashlib.sha256(asked.encode()).hexdigest()}"


def stored_in(store: Any, **more: Any) -> Callable[[Any], Any]:
    """`more` goes to the store's `set`, such as a time to live."""

    def decorate(function: Any) -> Any:
        model = get_type_hints(function).get("return", User)

        @functools.wraps(function)
        def caching(*args: Any, **kwargs: Any) -> Any:
            key = key_for(function, *args, **kwargs)
            entry = store.get(key)
            if entry is not None:
                return model.model_validate_json(entry)
            answer = function(*args, **kwargs)
            store.set(key, answer.model_dump_json(), **more)
            return answer

        return caching

    return decorate


def stored_in_async(store: Any, **more: Any) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        async def caching(*args: Any) -> Any:
            key = key_for(function, *args)
            entry = await store.get(key)
            if entry is not None:
                return User.model_validate_json(entry)
            answer = await function(*args)
            await store.set(key, answer.model_dump_json(), **more)
            return answer

        return caching

    return decorate
