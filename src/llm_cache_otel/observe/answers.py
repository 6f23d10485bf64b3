"""What the SDKs hand back in place of an answer, or around it."""

from __future__ import annotations

import json
from typing import Any

from llm_cache_otel.observe.reported import fields_of, read
from llm_cache_otel.observe.sdk import declared


def body_of(response: Any) -> Any:
    """An answer that a program has asked for as it came (`with_raw_response`), as far as it was read.

    Nothing is used up, and nothing parsed that the program might not want to.
    """
    raw = declared(response, "http_response")
    if raw is None:
        return response
    if not getattr(raw, "is_closed", False) or not hasattr(raw, "_content"):
        return None
    try:
        return json.loads(raw.content)
    except ValueError:
        return None


def unwrapped(event: Any) -> Any:
    """The chunk that an event of Mistral's SDK carries; of the others, whose events are the chunks, that."""
    data = read(event, "data")
    return event if read(data, "choices") is None else data


def is_of_several(answer: Any) -> bool:
    """Whether google-genai has asked more than once for it, for it ran what the model called.

    Of these requests it reports the last one's tokens only.
    """
    return bool(fields_of(answer).get("automatic_function_calling_history"))
