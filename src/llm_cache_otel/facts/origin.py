"""How the answers came about that functions' caches keep, and what hits of them spare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_cache_otel.facts.fact import fact

if TYPE_CHECKING:
    from llm_cache_otel.facts.call import InferenceResponse


@fact
class Charge:
    """A provider's answer that has its price. `seconds` since the Unix epoch is when it was asked for.

    `prices` are those of whoever observes the client that was asked; opaque to everybody else.
    """

    provider: str | None
    model: str | None
    response: InferenceResponse
    seconds: float
    prices: object = None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Origin:
    """What it took to make an answer, by all that was observed meanwhile. Told apart by identity.

    `seconds` is how long it took, `None` if that is not known. `is_observed` is whether any client that was
    asked is observed, `is_whole` whether `charges` are all that there were.
    """

    charges: tuple[Charge, ...] = ()
    seconds: float | None = None
    is_observed: bool = False
    is_whole: bool = True

    @property
    def provider(self) -> str | None:
        """The one that was asked; `None` if there were several, or none."""
        return _only({charge.provider for charge in self.charges})

    @property
    def model(self) -> str | None:
        """Likewise."""
        return _only({charge.model for charge in self.charges})


@fact
class OriginHits:
    """Hits of answers of one origin: how many, how long they took together, and how long each.

    Of very many at once `durations` is an even sample, and `seconds` goes by the average of all. All are
    seconds.
    """

    origin: Origin
    count: int
    seconds: float
    durations: tuple[float, ...]


@fact
class StaleModel:
    """A function's cache goes on answering what `kept` said, while the function would ask `asked`."""

    kept: str
    asked: str


@fact
class FunctionHits:
    """What a function's cache in memory has answered since the last time."""

    function: str
    name: str | None
    backend: str
    hits: tuple[OriginHits, ...]
    stale: StaleModel | None = None


def _only(values: set[str | None]) -> str | None:
    return values.pop() if len(values) == 1 else None
