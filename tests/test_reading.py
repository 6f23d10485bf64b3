"""What is read of requests, responses and response models, and what odd values become: absent."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Annotated, Any, Literal, Optional, TypedDict, Union

import openai
import pytest
from google.genai.types import GenerateContentConfig
from pydantic import BaseModel
from support.models import City, User

from llm_cache_otel.facts import InferenceRequest, InferenceResponse
from llm_cache_otel.observe import answers, sdk
from llm_cache_otel.observe.adapter import entry_size
from llm_cache_otel.observe.errors import error_type
from llm_cache_otel.observe.inference_response import inference_response, reports_all
from llm_cache_otel.observe.key_part import unserializable_part
from llm_cache_otel.observe.reported import NAMES, reported_usage
from llm_cache_otel.observe.response_model import display_name, shown, whole_schema_digest


class Colour(enum.Enum):
    RED = "red"


class Typed(TypedDict):
    name: str


class Generic(BaseModel):
    inner: Optional["Generic"] = None


@pytest.mark.parametrize(
    ("response_model", "name"),
    [
        (None, None),
        (User, "User"),
        (list[User], "list[User]"),
        (Iterable[User], "Iterable[User]"),
        (Iterable[User | City], "Iterable[User | City]"),
        (Union[User, City], "User | City"),
        (Optional[User], "User | None"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (Annotated[int, "the user's own words"], "int"),
        (Literal["the user's own words", 3], "Literal[str, int]"),
        (Colour, "Colour"),
        (Typed, "Typed"),
        (int, "int"),
        ("a string", "str"),
    ],
)
def test_a_response_model_is_named_and_never_quoted(response_model: Any, name: str | None) -> None:
    assert display_name(response_model) == name


def test_a_schema_digest_is_the_same_in_every_process_and_only_for_models() -> None:
    digest = whole_schema_digest(User)
    assert shown(digest) == shown(whole_schema_digest(User)) == "76b9f6a4"
    assert whole_schema_digest(City) != digest
    assert whole_schema_digest(Generic) is not None
    for other in (None, int, list[User], Union[User, City], "User"):
        assert whole_schema_digest(other) is None
    assert shown(None) is None


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, {}),
        ({"temperature": 1, "top_p": 0.5}, {"temperature": 1.0, "top_p": 0.5}),
        ({"max_tokens": 9}, {"max_tokens": 9}),
        ({"max_completion_tokens": 9, "seed": 7}, {"max_tokens": 9, "seed": 7}),
        ({"n": 1}, {}),
        ({"n": 3}, {"choice.count": 3}),
        ({"temperature": "hot", "top_p": True, "seed": None}, {}),
        ({"temperature": openai.NOT_GIVEN}, {}),
        ({"stop": ["the user's own"], "logit_bias": {"1": 2}}, {}),
        (
            {"config": GenerateContentConfig(temperature=0.1, top_k=4, max_output_tokens=8)},
            {"temperature": 0.1, "top_k": 4, "max_tokens": 8},
        ),
        (
            {"config": {"temperature": 0.1, "candidate_count": 2}},
            {"temperature": 0.1, "choice.count": 2},
        ),
    ],
    ids=str,
)
def test_request_settings(request_: dict[str, Any], expected: dict[str, Any]) -> None:
    read = sdk.inference_request("openai", None, request_)
    assert read.settings == expected
    assert {name: type(value) for name, value in read.settings.items()} == {
        name: type(value) for name, value in expected.items()
    }


@pytest.mark.parametrize(
    ("request_", "output_type"),
    [
        ({"response_format": {"type": "json_schema"}}, "json"),
        ({"response_format": {"type": "json_object"}}, "json"),
        ({"response_format": {"type": "text"}}, None),
        ({"text": {"format": {"type": "json_schema"}}}, "json"),
        ({"config": {"response_mime_type": "application/json"}}, "json"),
        ({"tools": [{"type": "function"}]}, None),
    ],
    ids=str,
)
def test_output_type(request_: dict[str, Any], output_type: str | None) -> None:
    assert sdk.inference_request("openai", None, request_).output_type == output_type


def test_the_server_is_an_address_and_a_port_and_nothing_more() -> None:
    client = SimpleNamespace(base_url="https://user:secret@api.example.com/v1?key=secret")
    read = sdk.inference_request("openai", client, {"model": "m"})
    assert read == InferenceRequest("chat", "openai", "m", "api.example.com", 443)
    odd = SimpleNamespace(base_url=3)
    assert sdk.inference_request("openai", odd, {"model": 3}) == InferenceRequest(
        "chat", "openai", None
    )


@pytest.mark.parametrize(
    ("name", "client", "expected"),
    [
        ("openai", object(), "openai"),
        ("mistral", object(), "mistral_ai"),
        ("xai", object(), "x_ai"),
        ("bedrock", object(), "aws.bedrock"),
        ("genai", SimpleNamespace(vertexai=True), "gcp.vertex_ai"),
        ("genai", SimpleNamespace(vertexai=False), "gcp.gemini"),
        ("genai", object(), "gcp.gen_ai"),
        ("deepseek", object(), "deepseek"),
        (None, object(), None),
        ("anthropic", type("AsyncAnthropicBedrock", (), {})(), "aws.bedrock"),
    ],
)
def test_provider_names(name: str | None, client: Any, expected: str | None) -> None:
    assert sdk.provider_name(name, client, print) == expected


@pytest.mark.parametrize("odd", [None, 3, "text", object(), SimpleNamespace(choices=3), [1, 2]])
def test_an_odd_response_says_nothing(odd: Any) -> None:
    assert inference_response(odd) == InferenceResponse()


USAGE = {"input_tokens": 3}


class ByItself(BaseModel):
    usage: Any = None

    def __getattribute__(self, name: str) -> Any:
        return USAGE if name == "usage" else super().__getattribute__(name)


class ByItem(BaseModel, Mapping[str, Any]):  # type: ignore[misc]  # another `__iter__` than a model's
    data: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Any:
        return iter(self.data)


class ByProperty(BaseModel):
    @property
    def usage(self) -> Any:
        return USAGE


class ByWhatIsMore(BaseModel, extra="allow"):
    pass


class ByAnything(BaseModel):
    def __getattr__(self, name: str) -> Any:
        if name == "usage":
            return USAGE
        raise AttributeError(name)


@pytest.mark.parametrize(
    "response",
    [
        *(ByItself(), ByItem(data={"usage": USAGE}), ByProperty(), ByAnything()),
        ByWhatIsMore.model_validate({"usage": USAGE}),
        SimpleNamespace(usage=USAGE),
        {"usage": USAGE},
    ],
    ids=lambda response: type(response).__name__,
)
def test_wherever_a_response_has_its_usage(response: Any) -> None:
    assert reported_usage(response) == USAGE


def test_a_response_that_is_half_made() -> None:
    assert reported_usage(ByProperty.__new__(ByProperty)) == USAGE
    assert reported_usage(ByWhatIsMore.__new__(ByWhatIsMore)) is None


class Asked:
    """Notes what it is asked for, and has what there is more to ask of."""

    def __init__(self, names: set[str], *, several: bool) -> None:
        parts = {"message", "response", "ResponseMetadata", "delta", "diagnostics", "data"}
        self._has = {"choices"} if several else parts | {"performanceConfig", "cache_miss_reason"}
        self._names = names

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        self._names.add(name)
        if name not in self._has:
            return None
        part = type(self)(self._names, several=name == "choices")
        return [part] if name == "choices" else part


def test_what_a_class_must_not_answer_itself_is_all_that_is_read_of_it() -> None:
    """Of the others the fields are read in one step, and a property of that name would be missed."""
    names: set[str] = set()
    for several in (True, False):
        flat = Asked(names, several=several)
        flat._has -= {"message", "response", "ResponseMetadata", "diagnostics"}
        for answer in (Asked(names, several=several), flat):
            inference_response(answer)
            answers.is_of_several(answer)
            answers.unwrapped(answer)
            reports_all(answer)
    assert names == set(NAMES)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (
            {"client_identity": {"bound": {"_client": {"organization": object()}}}},
            "client.organization",
        ),
        ({"request": {"model": "m", "timeout": object()}}, "request.timeout"),
        ({"request": {"temperature": float("nan")}}, "request.temperature"),
        ({"context": {"the user's own": {1}}}, "context"),
        ({"args": (object(),)}, "args"),
        (
            {"request": {"model": "m", "tool": User}, "context": {"user": User(name="", age=1)}},
            None,
        ),
    ],
    ids=["client", "request", "no number", "context", "arguments", "none"],
)
def test_the_part_that_is_no_json(arguments: dict[str, Any], part: str | None) -> None:
    assert unserializable_part(arguments) == part


@pytest.mark.parametrize(
    ("entry", "size"), [("abc", 3), ("äö", 4), ("\ud800", 3), (b"abc", 3), (None, None), ({}, None)]
)
def test_entry_sizes_are_in_bytes(entry: object, size: int | None) -> None:
    assert entry_size(entry) == size


def test_errors_are_named_by_class() -> None:
    assert error_type(KeyError("secret")) == "KeyError"
    assert error_type(openai.OpenAIError("secret")) == "openai.OpenAIError"


@pytest.mark.parametrize(
    ("answer", "reasons"),
    [
        ({"choices": [{"finish_reason": "stop", "stop_reason": "</s>"}]}, ("stop",)),  # vLLM's
        ({"choices": [{"stop_reason": "end"}, {"finish_reason": None}]}, ("end",)),
        ({"choices": [], "stop_reason": "end_turn"}, ("end_turn",)),
        ({"choices": [], "candidates": [{"finish_reason": "max"}]}, ("max",)),
        ({"delta": {"stop_reason": "tool_use"}}, ("tool_use",)),
        ({"stopReason": "end_turn"}, ("end_turn",)),
        ({"choices": iter([{"finish_reason": "stop"}])}, ()),
    ],
)
def test_why_an_answer_stopped(answer: dict[str, Any], reasons: tuple[str, ...]) -> None:
    assert inference_response(answer).finish_reasons == reasons
