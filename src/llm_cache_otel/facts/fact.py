"""`fact`: a dataclass that is frozen for whoever checks types, and plain when it runs.

To make one that is frozen then takes three times as long, and a hit makes a dozen. And what every dataclass
has compiled for itself, all facts have together: there are fifty, and an import should not take long.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

T = TypeVar("T")


def _eq(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    values = self._values
    return values(self) == values(other)


def _hash(self: Any) -> int:
    return hash(self._values(self))


def _repr(self: Any) -> str:
    said = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({', '.join(said)})"


if TYPE_CHECKING:

    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    def fact(kind: type[T]) -> type[T]: ...

else:

    def fact(kind: type[T]) -> type[T]:
        made = dataclass(slots=True, eq=False, repr=False)(kind)
        made._values = attrgetter(*made.__slots__)
        made.__eq__, made.__hash__, made.__repr__ = _eq, _hash, _repr
        return made
