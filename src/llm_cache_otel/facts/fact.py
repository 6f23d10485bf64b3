"""`fact`: a dataclass that is frozen for whoever checks types, and plain when it runs.

To make one that is frozen then takes three times as long, and a hit makes a dozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, dataclass_transform

T = TypeVar("T")


if TYPE_CHECKING:

    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    def fact(kind: type[T]) -> type[T]: ...

else:
    fact = dataclass(slots=True, unsafe_hash=True)
