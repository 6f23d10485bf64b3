"""Where the providers' SDKs keep what all their calls go through, and what is asked of them there.

openai and anthropic, which Stainless generates, send everything through the client's `request`: whoever
calls, by whichever method, through a manager of a stream or for a raw response, and not before it is sent.
google-genai has no such place, and is seen at the methods themselves.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import reduce
from typing import Any, Protocol

from llm_cache_otel.observe import instructor_api
from llm_cache_otel.observe.sdk import provider_name

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Role(Enum):
    """What a method does."""

    ASK = auto()
    COPY = auto()
    CLOSE = auto()


@dataclass(frozen=True)
class Method:
    """A function of a class, or one that somebody has put into a client itself."""

    holder: weakref.ref[Any]
    name: str
    role: Role

    @property
    def key(self) -> tuple[int, str]:
        return id(self.holder()), self.name


@dataclass(frozen=True)
class Asked:
    """What a provider is about to be asked, as keyword arguments of the SDK's method.

    `function` is the method that the program has called, as far as that can be told, for those who wrap it.
    """

    request: Mapping[str, Any]
    client: Any
    provider: str | None
    function: Any


class Sdk(Protocol):
    """The SDK of one kind of client."""

    owns_its_calls: bool
    """Whether what it asks while it is asked is a part of the same call."""

    def owner(self, holder: Any) -> Any:
        """By whose identity a client is known, from the client or from what its methods are bound to."""

    def methods(self, client: Any) -> Iterator[Method]: ...

    def asked(self, holder: Any, name: str, args: Args, kwargs: Kwargs) -> Asked | None:
        """`None` for what is no inference."""
        ...

    def tapped(self, args: Args, kwargs: Kwargs, tap: Callable[[Any], None]) -> tuple[Args, Kwargs]:
        """The arguments, with `tap` told of an answer before it is parsed any further."""
        ...


def sdk_of(client: Any) -> Sdk | None:
    """`None` for what is no client of these SDKs."""
    names = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(client).__mro__}
    if names & _STAINLESS_CLIENTS:
        return _stainless
    if "google.Client" in names and type(client).__module__.startswith("google.genai"):
        return _genai
    return None


_STAINLESS_CLIENTS = {
    f"{package}.{asynchronous}{name}"
    for asynchronous in ("", "Async")
    for package, names in (
        ("openai", ("OpenAI",)),  # AzureOpenAI derives from it
        ("anthropic", ("Anthropic", "AnthropicBedrock", "AnthropicVertex")),
    )
    for name in names
}
_ENTRIES = {
    "/chat/completions": "chat.completions",
    "/responses": "responses",
    "/v1/messages": "messages",
    "/v1/messages?beta=true": "beta.messages",
}
"""What asks for an inference, and where a client keeps the methods for it."""

_STREAMS = {
    "openai": (
        "openai._streaming:Stream",
        "openai._streaming:AsyncStream",
        "openai.lib.streaming.chat._completions:ChatCompletionStream",
        "openai.lib.streaming.chat._completions:AsyncChatCompletionStream",
        "openai.lib.streaming.responses._responses:ResponseStream",
        "openai.lib.streaming.responses._responses:AsyncResponseStream",
    ),
    "anthropic": ("anthropic._streaming:Stream", "anthropic._streaming:AsyncStream"),
}
_NOT_SAID = ("Omit", "NotGiven")
_HELPER = "x-stainless-helper-method"


class _Stainless:
    owns_its_calls = True

    def owner(self, holder: Any) -> Any:
        return holder

    def methods(self, client: Any) -> Iterator[Method]:
        if "request" in vars(client):  # Logfire's, which holds the class's own
            yield Method(weakref.ref(client), "request", Role.ASK)
        yield from _of_class(type(client), "request", Role.ASK)
        for name in ("copy", "with_options"):
            yield from _of_class(type(client), name, Role.COPY)
        packages = {kind.__module__.split(".")[0] for kind in type(client).__mro__}
        for place in (place for package in packages for place in _STREAMS.get(package, ())):
            module, name = place.split(":")
            kind = getattr(sys.modules.get(module), name, None)  # imported when it is used
            if kind is not None:
                yield from _of_class(kind, "close", Role.CLOSE)

    def asked(self, holder: Any, name: str, args: Args, kwargs: Kwargs) -> Asked | None:
        options = _options(args, kwargs)
        entry = _ENTRIES.get(str(getattr(options, "url", "")))
        if entry is None or options.method.lower() != "post":
            return None
        body = options.json_data if isinstance(options.json_data, Mapping) else {}
        said = {key: value for key, value in body.items() if type(value).__name__ not in _NOT_SAID}
        said["extra_body"], said["extra_headers"] = options.extra_json, options.headers
        provider = provider_name(instructor_api.provider_at(holder), holder, None)
        return Asked(said, holder, provider, _entry(holder, entry, options))

    def tapped(self, args: Args, kwargs: Kwargs, tap: Callable[[Any], None]) -> tuple[Args, Kwargs]:
        options = _options(args, kwargs)
        parser = options.post_parser
        if not callable(parser):
            return args, kwargs

        def post_parser(answer: Any) -> Any:
            tap(answer)
            return parser(answer)

        watched = options.model_copy(update={"post_parser": post_parser})
        return (
            tuple(watched if each is options else each for each in args),
            {name: watched if each is options else each for name, each in kwargs.items()},
        )


def _options(args: Args, kwargs: Kwargs) -> Any:
    named = (each for each in args if type(each).__name__ == "FinalRequestOptions")
    return kwargs.get("options", next(named, None))


def _entry(client: Any, path: str, options: Any) -> Any:
    first, *_ = path.split(".")
    if first not in vars(client):  # it did not come from there: making it would be of some cost
        return client.request
    headers = options.headers if isinstance(options.headers, Mapping) else {}
    helpers = [value for name, value in headers.items() if name.lower() == _HELPER]
    name = "parse" if callable(options.post_parser) else "create"
    name = "stream" if "stream" in helpers else name
    method = getattr(reduce(getattr, path.split("."), client), name, None)
    return client.request if method is None else method


class _Genai:
    owns_its_calls = False  # the functions that a model may call are the program's

    def owner(self, holder: Any) -> Any:
        return getattr(holder, "_api_client", None)

    def methods(self, client: Any) -> Iterator[Method]:
        for models in (client.models, client.aio.models):
            for name in ("generate_content", "generate_content_stream"):
                yield from _of_class(type(models), name, Role.ASK)

    def asked(self, holder: Any, name: str, args: Args, kwargs: Kwargs) -> Asked | None:
        request = {**kwargs, "stream": True} if name.endswith("stream") else kwargs
        is_vertex = getattr(holder._api_client, "vertexai", None)
        provider = "gcp.vertex_ai" if is_vertex else "gcp.gemini"
        return Asked(request, holder, provider, getattr(holder, name))

    def tapped(self, args: Args, kwargs: Kwargs, tap: Callable[[Any], None]) -> tuple[Args, Kwargs]:
        return args, kwargs


def _of_class(kind: type, name: str, role: Role) -> Iterator[Method]:
    """The plain function behind a method, with the class that defines it; nothing else can be wrapped."""
    owner = next((each for each in kind.__mro__ if name in vars(each)), object)
    function = vars(owner).get(name)
    if inspect.isroutine(function):  # those of other instrumentations included
        yield Method(weakref.ref(owner), name, role)


_stainless = _Stainless()
_genai = _Genai()
