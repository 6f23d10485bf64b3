"""What a cache holds for an answer: the model, and beside it what it took, as JSON.

So that a process that finds what another has stored knows what that spares.
"""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field, JsonValue

from llm_cache_otel.caching.keys import name_of, parts_of
from llm_cache_otel.facts import Charge, InferenceResponse, Origin

M = TypeVar("M", bound=BaseModel)
_MOST_CHARGES = 64
_Time = Annotated[float, Field(ge=0, le=253_402_300_800, allow_inf_nan=False)]
"""Seconds since the Unix epoch, to the year 10,000."""

_Seconds = Annotated[float, Field(ge=0, le=31_557_600, allow_inf_nan=False)]
"""That a run may have taken: a year at the most."""


class _Charge(BaseModel):
    """A provider's answer: who gave it, when, and the tokens that it took, in the provider's own names."""

    provider: str | None = None
    model: str | None = None
    answered_by: str | None = None
    usage: dict[str, JsonValue] | None = None
    service_tier: str | None = None
    created: _Time | None = None
    asked_at: _Time

    def charge(self) -> Charge:
        response = InferenceResponse(
            model=self.answered_by,
            reported=self.usage,
            service_tier=self.service_tier,
            created=self.created,
        )
        return Charge(self.provider, self.model, response, self.asked_at)


class _Origin(BaseModel):
    """What all of it took, `seconds` among it."""

    seconds: _Seconds | None = None
    charges: list[_Charge] = []
    is_whole: bool = True

    def origin(self) -> Origin:
        charges = tuple(each.charge() for each in self.charges)
        return Origin(charges, self.seconds, is_observed=True, is_whole=self.is_whole)


class _Entry(BaseModel):
    """`answer` is the model's own JSON, as text, so that nothing in between changes a value of it."""

    answer: str
    origin: _Origin | None = None


_READS_NAMES = "by_name" in inspect.signature(BaseModel.model_validate_json).parameters
"""Before Pydantic 2.11 a model with aliases reads these only."""


class Entries(Generic[M]):
    """Writes and reads the entries of one model."""

    def __init__(self, model: type[M]) -> None:
        self.model = model

    def written(self, answer: M, origin: Origin | None) -> str:
        """
        Raises:
            Exception: what would be written could not be read as the same again.
        """
        written = answer.model_dump_json(by_alias=not _READS_NAMES, round_trip=True, warnings=False)
        if not _is_same(self._answer(written), answer):
            raise ValueError("JSON does not hold all of it")
        return _Entry(answer=written, origin=_written_origin(origin)).model_dump_json()

    def read(self, stored: Any) -> tuple[M, Origin | None]:
        """The answer, and what it took if that is known.

        Raises:
            Exception: it is no entry of this model.
        """
        entry = _Entry.model_validate_json(stored)
        return self._answer(entry.answer), None if entry.origin is None else entry.origin.origin()

    def _answer(self, written: str) -> M:
        if _READS_NAMES:
            return self.model.model_validate_json(written, by_alias=False, by_name=True)
        return self.model.model_validate_json(written)


def _is_same(read: BaseModel, answer: BaseModel) -> bool:
    """As `==`, but that Instructor's answers are of a class of its own, named as the one asked for."""
    if name_of(type(read)) != name_of(type(answer)):
        return False
    return parts_of(read) == parts_of(answer)


def _written_origin(origin: Origin | None) -> _Origin | None:
    if origin is None or not origin.is_observed:
        return None
    charges = [
        _Charge(
            provider=each.provider,
            model=each.model,
            answered_by=each.response.model,
            usage=None if each.response.reported is None else dict(each.response.reported),
            service_tier=each.response.service_tier,
            created=each.response.created,
            asked_at=each.seconds,
        )
        for each in origin.charges[:_MOST_CHARGES]
    ]
    is_whole = origin.is_whole and len(charges) == len(origin.charges)
    return _Origin(seconds=origin.seconds, charges=charges, is_whole=is_whole)
