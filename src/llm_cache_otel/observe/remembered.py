"""Remembers what was found out of an object, for as long as it lives: a hit should not find it out again."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class Remembered(Generic[V]):
    """Of objects that are told apart by identity, for they may define `__eq__`. Thread-safe.

    Of what can't be referred to weakly it is found out each time, and where what was found does not `last`.
    """

    def __init__(
        self, find_out: Callable[[Any], V], lasts: Callable[[V], bool] = lambda found: True
    ) -> None:
        self._find_out = find_out
        self._lasts = lasts
        self.known: dict[int, tuple[weakref.ref[Any], V]] = {}
        """By identity, for who can't wait for a call of this."""

    def __call__(self, thing: Any) -> V:
        known = self.known.get(id(thing))
        if known is not None and known[0]() is thing:
            return known[1]
        found = self._find_out(thing)
        if self._lasts(found):
            self._keep(thing, found)
        return found

    def _keep(self, thing: Any, found: V) -> None:
        identity = id(thing)

        def drop(gone: weakref.ref[Any]) -> None:  # a finalizer, which takes no lock
            if self.known.get(identity, (None,))[0] is gone:
                self.known.pop(identity, None)

        with contextlib.suppress(TypeError):
            self.known[identity] = weakref.ref(thing, drop), found
