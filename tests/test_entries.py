"""What a hit returns is what the first call returned, or else it is not cached, which is said once."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, Literal, TypeVar, Union
from uuid import UUID

import instructor
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SecretStr,
    computed_field,
    field_serializer,
    field_validator,
    model_validator,
)
from support.cached import Runs, warnings_of
from support.models import DictCache, User
from support.ways import MODEL, make_client

from llm_cache_otel import instructor_cache, uninstrument
from llm_cache_otel.caching.entries import _READS_NAMES, Entries
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.facts import Charge, InferenceResponse, Origin

T = TypeVar("T")


class Aliased(BaseModel):
    user_name: str = Field(alias="userName")


class Apart(BaseModel):
    """Written under other names than it is read by."""

    first: str = Field(validation_alias="a", serialization_alias="b")
    second: str = Field(
        validation_alias=AliasChoices("c", AliasPath("d", 0)), serialization_alias="a"
    )


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str
    born: date
    tags: frozenset[str]

    @computed_field
    @property
    def shouted(self) -> str:
        return self.name.upper()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str


class Page(BaseModel, Generic[T]):
    items: list[T]
    after: int | None = None


class Kind(Enum):
    GOOD = "good"
    BAD = "bad"


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    age: int = 1


class Exact(BaseModel):
    price: Decimal
    at: datetime
    took: timedelta
    data: bytes
    id: UUID
    kind: Kind
    score: float
    pet: Union[Cat, Dog] = Field(discriminator="kind")
    pair: tuple[int, str]
    by_number: dict[int, Decimal]
    anything: Any = None


class Empty(BaseModel):
    pass


class Tags(RootModel[list[str]]):
    pass


EXACT = Exact(
    price=Decimal("1.10"),
    at=datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC),
    took=timedelta(days=-1, microseconds=7),
    data="bytes that are text: ü".encode(),
    id=UUID(int=7),
    kind=Kind.BAD,
    score=0.1 + 0.2,
    pet=Dog(age=7),
    pair=(1, "a"),
    by_number={1: Decimal("0.10")},
    anything={"a": [1, None, "ü\u2028"]},
)

KEPT: dict[str, BaseModel] = {
    "an alias": Aliased(userName="Ada"),
    "extra fields forbidden": Strict(name="Ada", born=date(1815, 12, 10), tags=frozenset("ab")),
    "extra fields": Open(name="Ada", age=36, friends=[{"name": "Alan"}]),  # type: ignore[call-arg]
    "generic": Page[Node](items=[Node(name="a", children=[Node(name="b")])]),
    "exact values": EXACT,
    "a root": Tags(["a", "b"]),
    "not all fields set": Page[str](items=[]),
    "no fields": Empty(),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_written_is_read_as_the_same(name: str) -> None:
    answer = KEPT[name]
    entries = Entries(type(answer))
    read, origin = entries.read(entries.written(answer, None))
    assert (read, origin) == (answer, None)
    assert read.model_dump() == answer.model_dump()


@pytest.mark.skipif(not _READS_NAMES, reason="before Pydantic 2.11 that is not cached")
def test_names_in_and_out_may_differ() -> None:
    answer = Apart.model_validate({"a": "one", "d": ["two"]})
    assert Entries(Apart).read(Entries(Apart).written(answer, None)) == (answer, None)


class Team(BaseModel):
    members: list[User]


class Hiding(BaseModel):
    name: str
    hidden: str = Field(default="", exclude=True)


class Secretive(BaseModel):
    secret: SecretStr


class Rounded(BaseModel):
    price: Decimal

    @field_serializer("price")
    def text(self, price: Decimal) -> str:
        return f"{price:.0f}"


class Growing(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def shout(cls, name: str) -> str:
        return name + "!"


class Picky(BaseModel):
    name: str

    @model_validator(mode="after")
    def never_twice(self) -> Picky:
        if self.name == "Ada":
            raise ValueError(self.name)
        return self


class Numbered(BaseModel):
    number: float | None


class Pets(BaseModel):
    pets: list[Cat]


class Siamese(Cat):
    age: int = 3


class Derived(User):
    level: int = 1


class Shouting(User):
    """All that it has more is what it does."""

    def __str__(self) -> str:
        return self.name.upper()


def _noted() -> Open:
    answer = Open(name="Ada")
    answer.note = {1, 2}  # type: ignore[attr-defined]
    return answer


NOT_KEPT: dict[str, tuple[type[BaseModel], BaseModel]] = {
    "an excluded field": (Hiding, Hiding(name="Ada", hidden="more")),
    "a secret": (Secretive, Secretive(secret=SecretStr("more"))),
    "a serializer that rounds": (Rounded, Rounded(price=Decimal("1.5"))),
    "a validator that changes": (Growing, Growing(name="Ada")),
    "a validator that refuses": (Picky, Picky.model_construct(name="Ada")),
    "no number": (Numbered, Numbered(number=float("nan"))),
    "infinite": (Numbered, Numbered(number=float("inf"))),
    "bytes that are no text": (Exact, EXACT.model_copy(update={"data": b"\xff"})),
    "half a character": (User, User.model_construct(name="\ud800", age=1)),
    "a set for anything": (Exact, EXACT.model_copy(update={"anything": {1}})),
    "an object for anything": (Exact, EXACT.model_copy(update={"anything": object()})),
    "a set beside its fields": (Open, _noted()),
    "a field of a derived model": (Pets, Pets(pets=[Siamese()])),
    "a derived model": (User, Derived(name="Ada", age=36)),
    "a derived model of the same fields": (User, Shouting(name="Ada", age=36)),
    "of the wrong type": (User, User.model_construct(name="Ada", age="old")),
    "not whole": (User, User.model_construct(name="Ada")),
}


@pytest.mark.parametrize("name", NOT_KEPT)
def test_what_could_not_is_not_written(name: str, caplog: pytest.LogCaptureFixture) -> None:
    model, answer = NOT_KEPT[name]
    store, runs = DictCache(), Runs()

    def function(prompt: str) -> BaseModel:
        runs(prompt)
        return answer

    function.__annotations__["return"] = model
    function.__qualname__ = f"not kept: {name}"
    cached = uninstrument(instructor_cache(store)(function))
    for _ in range(3):
        assert cached("Ada") is answer
    assert (store.entries, len(runs)) == ({}, 3)
    (warning,) = warnings_of(caplog)
    assert f"what {model.__name__} writes as JSON it does not read as the same again" in warning
    assert "more" not in warning


def test_what_is_excluded_and_has_its_default_is_no_hindrance() -> None:
    answer = Hiding(name="Ada")
    assert Entries(Hiding).read(Entries(Hiding).written(answer, None)) == (answer, None)


@given(
    st.builds(
        Exact,
        price=st.decimals(allow_nan=False, allow_infinity=False),
        data=st.text().map(str.encode),
        by_number=st.just({1: Decimal("0.10")}),
        score=st.floats(allow_nan=False, allow_infinity=False),
        anything=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists),
    )
)
def test_any_that_is_written_is_read_as_the_same(answer: Exact) -> None:
    entries = Entries(Exact)
    try:
        written = entries.written(answer, None)
    except ValueError:
        return
    read, _ = entries.read(written)
    assert read == answer
    assert entries.read(written.encode())[0] == answer


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON])
def test_instructors_answers_are_of_classes_of_its_own(
    mode: instructor.Mode, provider: SimulatedProvider
) -> None:
    """A hit is of the class that the function is declared to return; all else is the same."""
    client = make_client(provider, mode=mode)
    store = DictCache()

    @instructor_cache(store)
    def extract(text: str) -> Team:
        messages = [{"role": "user", "content": text}]
        return client.create(model=MODEL, messages=messages, response_model=Team)  # type: ignore[no-any-return]

    @instructor_cache(store)
    def count(team: Team) -> User:
        return User(name="count", age=len(team.members))

    uninstrument(extract), uninstrument(count)
    before = provider.ledger.requests
    first, hit = extract("Ada"), extract("Ada")
    assert provider.ledger.requests == before + 1
    assert type(hit) is Team
    assert isinstance(first, Team)
    assert hit.model_dump() == first.model_dump()
    assert count(first) == count(hit)
    assert len(store.entries) == 2, "what a function returned is the same argument as what a hit is"
    client.client.close()


def origin(charges: int = 2, *, is_whole: bool = True) -> Origin:
    response = InferenceResponse(
        model="gpt-4.1-mini-2025-04-14",
        reported={"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": 5}},
        service_tier="flex",
        created=1.5,
    )
    charge = Charge("openai", "gpt-4.1-mini", response, 1.25)
    return Origin((charge,) * charges, 2.5, is_observed=True, is_whole=is_whole)


def test_what_it_took_is_written_beside_it() -> None:
    entries = Entries(User)
    ada = User(name="Ada", age=36)
    for charges in (0, 1, 64):
        _, read = entries.read(entries.written(ada, origin(charges)))
        assert read is not None
        told = origin(charges)
        assert (read.charges, read.seconds) == (told.charges, told.seconds)
        assert (read.is_observed, read.is_whole) == (True, True)
    _, read = entries.read(entries.written(ada, origin(65)))
    assert read is not None
    assert (len(read.charges), read.is_whole) == (64, False)
    _, read = entries.read(entries.written(ada, origin(1, is_whole=False)))
    assert read is not None
    assert not read.is_whole
    unobserved = Origin(seconds=1.0)
    assert entries.read(entries.written(ada, unobserved)) == (ada, None)


def test_an_entry_holds_neither_prompt_nor_more_of_the_provider_than_what_it_took() -> None:
    written = json.loads(Entries(User).written(User(name="Ada", age=36), origin(1)))
    assert written.keys() == {"answer", "origin"}
    assert written["origin"].keys() == {"seconds", "charges", "is_whole"}
    (charge,) = written["origin"]["charges"]
    assert charge.keys() == {
        *("provider", "model", "answered_by", "usage", "service_tier", "created", "asked_at")
    }


def test_entries_of_a_later_version_may_say_more() -> None:
    entries = Entries(User)
    written = json.loads(entries.written(User(name="Ada", age=36), origin(1)))
    written["since"] = written["origin"]["since"] = written["origin"]["charges"][0]["since"] = 1
    read, found = entries.read(json.dumps(written))
    assert read == User(name="Ada", age=36)
    assert found is not None
    assert found.charges == origin(1).charges
