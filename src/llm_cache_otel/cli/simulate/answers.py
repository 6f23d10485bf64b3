"""Values that fit a JSON schema, drawn from a seed."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator
from typing import Any

Schema = dict[str, Any]

_WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heath",
    "iris",
    "juniper",
    "larch",
    "maple",
]
_ITEMS = 3


def answer_for(schema: Schema, seed: str) -> Any:
    """A value that validates against `schema`, the same for the same `seed`.

    Knows what Pydantic writes: `$ref`, `$defs`, `enum`, `const`, `anyOf`, `allOf`, arrays and
    objects, bounds of numbers and lengths of strings.
    """
    return _value(schema, schema.get("$defs", {}), random.Random(seed))


def schema_in(prompt: Any) -> Schema | None:
    """The first JSON schema of an object in the texts of `prompt`, which is made of JSON."""
    if isinstance(prompt, str):
        return next(filter(None, (_schema_at(prompt, start) for start in _braces(prompt))), None)
    parts = prompt.values() if isinstance(prompt, dict) else prompt
    if not isinstance(parts, Iterable):
        return None
    return next(filter(None, map(schema_in, parts)), None)


def _braces(text: str) -> Iterator[int]:
    return (match.start() for match in re.finditer(r"\{\s*\"", text))


def _schema_at(text: str, start: int) -> Schema | None:
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        return None
    return found if isinstance(found.get("properties"), dict) else None


def _value(
    schema: Schema, definitions: dict[str, Schema], rng: random.Random, inside: tuple[str, ...] = ()
) -> Any:
    """`inside` are the definitions that this value is a part of: none begins again, if it need not."""

    def value(part: Schema) -> Any:
        return _value(part, definitions, rng, inside)

    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return _value(definitions[name], definitions, rng, (*inside, name))
    if "enum" in schema or "const" in schema:
        return rng.choice(schema.get("enum") or [schema["const"]])
    alternatives = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if alternatives:
        ends = (each for each in alternatives if not _begins_again(each, inside))
        return value(next(ends, alternatives[0]))
    kind = str(schema.get("type", "object")).lower()
    if kind == "object":
        return {name: value(part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        items = schema.get("items", {"type": "string"})
        most = 0 if _begins_again(items, inside) else _ITEMS
        count = schema.get("minItems") or min(most, schema.get("maxItems", _ITEMS))
        return [value(items) for _ in range(count)]
    return _scalar(kind, schema, rng)


def _begins_again(schema: Schema, inside: tuple[str, ...]) -> bool:
    items = schema.get("items", {})
    references = (schema.get("$ref", ""), items.get("$ref", "") if isinstance(items, dict) else "")
    return any(name and name.rsplit("/", 1)[-1] in inside for name in references)


def _scalar(kind: str, schema: Schema, rng: random.Random) -> Any:
    match kind:
        case "integer":
            return rng.randint(*_bounds(schema))
        case "number":
            return float(rng.randint(*_bounds(schema)))
        case "boolean":
            return rng.choice([True, False])
        case "null":
            return None
        case _:
            return _text(schema, rng)


def _bounds(schema: Schema) -> tuple[int, int]:
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 100) - 1)
    return int(low), max(int(low), int(high))


def _text(schema: Schema, rng: random.Random) -> str:
    text = f"{rng.choice(_WORDS)} {rng.choice(_WORDS)}"
    while len(text) < schema.get("minLength", 0):
        text += f" {rng.choice(_WORDS)}"
    return text[: schema.get("maxLength")]
