"""What a cache holds for an answer: the model, and beside it what it took, as JSON.

So that a process that finds what another has stored knows what that spares.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, JsonValue, TypeAdapter

from llm_cache_otel.facts import Charge, InferenceResponse, Origin

M = TypeVar("M", bound=BaseModel)
_MOST_CHARGES = 64


class _Charge(BaseModel):
    """A provider's answer: who gave it, when, and the tokens that it took, in the provider's own names."""

    provider: str | None = None
    model: str | None = None
    answered_by: str | None = None
    usage: dict[str, JsonValue] | None = None
    service_tier: str | None = None
    created: float | None = None
    asked_at: float

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

    seconds: float | None = None
    charges: list[_Charge] = []
    is_whole: bool = True

    def origin(self) -> Origin:
        charges = tuple(each.charge() for each in self.charges)
        return Origin(charges, self.seconds, is_observed=True, is_whole=self.is_whole)


class _Entry(BaseModel):
    """`answer` is the model's own JSON, as text, so that nothing in between changes a value of it."""

    answer: str
    origin: _Origin | None = None


_Entries = TypeAdapter(_Entry)


class Entries(Generic[M]):
    """Writes and reads the entries of one model."""

    def __init__(self, model: type[M]) -> None:
        self._model = model

    def written(self, answer: M, origin: Origin | None) -> str:
        """
        Raises:
            ValueError: what would be written could not be read again.
        """
        written = answer.model_dump_json(by_alias=True, round_trip=True)
        self._model.model_validate_json(written)
        return _Entry(answer=written, origin=_written_origin(origin)).model_dump_json()

    def read(self, stored: Any) -> tuple[M, Origin | None]:
        """The answer, and what it took if that is known.

        Raises:
            ValueError: it is no entry of this model.
        """
        if not isinstance(stored, (str, bytes, bytearray)):
            raise ValueError("an entry is text")  # noqa: TRY004  as any that can't be read
        entry = _Entries.validate_json(stored)
        answer = self._model.model_validate_json(entry.answer)
        return answer, None if entry.origin is None else entry.origin.origin()


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
