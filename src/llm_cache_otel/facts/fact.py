"""`fact`: a dataclass that is frozen for whoever checks types, and plain when it runs.

To make one that is frozen then takes three times as long, and a hit makes a dozen. And what every dataclass
has compiled for itself, all facts have together: there are fifty, and an import should not take long.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

T = TypeVar("T")


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in self.__slots__])


def _eq(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    said = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({', '.join(said)})"


if TYPE_CHECKING:

    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    def fact(kind: type[T]) -> type[T]: ...

else:

    def fact(kind: type[T]) -> type[T]:
        made = dataclass(slots=True, eq=False, repr=False)(kind)
        made.__eq__, made.__hash__, made.__repr__ = _eq, _hash, _repr
        return made
