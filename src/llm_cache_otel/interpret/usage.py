"""What providers report of tokens, in one shape.

Told by the names a provider uses, for the same wire format comes from many addresses:

- OpenAI chat completions, also Azure, DeepSeek, Groq, xAI, Mistral, OpenRouter, LiteLLM and other
  compatible endpoints (`prompt_tokens`): https://platform.openai.com/docs/api-reference/chat/object
- OpenAI Responses (`input_tokens` with `input_tokens_details`):
  https://platform.openai.com/docs/api-reference/responses/object
- Anthropic (`input_tokens` without what was cached): https://docs.anthropic.com/en/api/messages
- Bedrock Converse (`inputTokens`, likewise):
  https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html
- Gemini (`prompt_token_count`): https://ai.google.dev/api/generate-content#UsageMetadata
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llm_cache_otel.facts import Reported, Usage
from llm_cache_otel.facts.fact import fact

_MOST = 10**9
"""Tokens, far more than any model takes. OTLP's sums end at 2**63, and nothing is sent that is past it."""


@fact
class Reading:
    """`usage` is `None` where no input and no output could be read; `dropped` names impossible counts."""

    usage: Usage | None
    dropped: tuple[str, ...] = ()


def usage_of(reported: Reported | None) -> Reading:
    """Never raises, whatever was reported."""
    if not reported:
        return Reading(None)
    counts = _Reader(reported)
    for names, read in _SHAPES:
        if any(name in reported for name in names):
            return _checked(read(counts), counts.dropped)
    return Reading(None, tuple(counts.dropped))


class _Reader:
    """Looks up counts by any of their names, and notes what is no count."""

    def __init__(self, reported: Mapping[str, Any], dropped: list[str] | None = None) -> None:
        self._reported = reported
        self.dropped: list[str] = [] if dropped is None else dropped

    def count(self, *names: str) -> int | None:
        for name in names:
            value = self._reported.get(name)
            if value is None:
                continue
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST:
                return value
            self.dropped.append(name)
        return None

    def within(self, *names: str) -> _Reader:
        found = (self._reported.get(name) for name in names)
        part = next((each for each in found if isinstance(each, Mapping)), {})
        return _Reader(part, self.dropped)

    def by(self, field: str, value: str, *lists: str) -> _Reader:
        """The item of a list whose `field` is `value`."""
        for name in lists:
            items = self._reported.get(name)
            for item in items if isinstance(items, list) else ():
                if isinstance(item, Mapping) and str(item.get(field)).lower() == value:
                    return _Reader(item, self.dropped)
        return _Reader({}, self.dropped)


def _chat(read: _Reader) -> Usage:
    details = read.within("prompt_tokens_details")
    answer = read.within("completion_tokens_details")
    hit = read.count(
        "prompt_cache_hit_tokens"
    )  # DeepSeek's; with its misses it is all of the prompt
    missed = read.count("prompt_cache_miss_tokens")
    prompt = read.count("prompt_tokens")
    if prompt is None:
        prompt = _sum(hit, missed)
    cached = details.count("cached_tokens")
    if cached is None:
        cached = hit
    if cached is None:
        # xAI's own SDK, Mistral, and LiteLLM, whose prompt includes them.
        cached = read.count(
            "cached_prompt_text_tokens",
            "cached_tokens",
            "num_cached_tokens",
            "cache_read_input_tokens",
        )
    written = details.count("cache_write_tokens", "cache_creation_tokens")
    if written is None:
        written = read.count("cache_creation_input_tokens")
    hour = details.within("cache_creation_token_details").count("ephemeral_1h_input_tokens")
    completion = read.count("completion_tokens")
    reasoning = answer.count("reasoning_tokens")
    if reasoning is None:
        reasoning = read.count("reasoning_tokens")
    apart = _sum(prompt, completion, reasoning)
    if reasoning and apart is not None and read.count("total_tokens") == apart:
        completion = _sum(
            completion, reasoning
        )  # xAI and Perplexity leave it out of the completion
    return Usage(
        input=prompt,
        output=completion,
        cache_read=cached,
        cache_write=written,
        cache_write_1h=hour,
        reasoning=reasoning,
        input_audio=details.count("audio_tokens") or None,
        output_audio=answer.count("audio_tokens") or None,
    )


def _responses(read: _Reader) -> Usage:
    details = read.within("input_tokens_details")
    return Usage(
        input=read.count("input_tokens"),
        output=read.count("output_tokens"),
        cache_read=details.count("cached_tokens", "cache_read_input_tokens"),
        cache_write=details.count("cache_write_tokens"),
        reasoning=read.within("output_tokens_details").count("reasoning_tokens"),
    )


def _anthropic(read: _Reader) -> Usage:
    cached = read.count("cache_read_input_tokens")
    written = read.count("cache_creation_input_tokens")
    by_retention = read.within("cache_creation")
    hour = by_retention.count("ephemeral_1h_input_tokens")
    if written is None:
        written = _sum(by_retention.count("ephemeral_5m_input_tokens"), hour)
    return Usage(
        input=_sum(read.count("input_tokens"), cached or 0, written or 0),
        output=read.count("output_tokens"),
        cache_read=cached,
        cache_write=written,
        cache_write_1h=hour,
        reasoning=read.within("output_tokens_details").count("thinking_tokens"),
    )


def _converse(read: _Reader) -> Usage:
    cached = read.count("cacheReadInputTokens", "cacheReadInputTokenCount")
    written = read.count("cacheWriteInputTokens", "cacheWriteInputTokenCount")
    return Usage(
        input=_sum(read.count("inputTokens"), cached or 0, written or 0),
        output=read.count("outputTokens"),
        cache_read=cached,
        cache_write=written,
        cache_write_1h=read.by("ttl", "1h", "cacheDetails").count("inputTokens"),
    )


def _gemini(read: _Reader) -> Usage:
    prompt = read.count("prompt_token_count", "promptTokenCount")
    tools = read.count("tool_use_prompt_token_count", "toolUsePromptTokenCount")
    thoughts = read.count("thoughts_token_count", "thoughtsTokenCount")
    answer = read.count(
        "candidates_token_count",
        "candidatesTokenCount",
        "response_token_count",
        "responseTokenCount",
    )

    def audio(*lists: str) -> int | None:
        return read.by("modality", "audio", *lists).count("token_count", "tokenCount") or None

    return Usage(
        input=_sum(prompt, tools or 0),
        # An answer that was nothing but thoughts has no candidates.
        output=_sum(answer or 0, thoughts or 0) if answer is not None or thoughts else None,
        cache_read=read.count("cached_content_token_count", "cachedContentTokenCount"),
        reasoning=thoughts,
        input_audio=audio("prompt_tokens_details", "promptTokensDetails"),
        output_audio=audio("candidates_tokens_details", "candidatesTokensDetails"),
        cache_read_audio=audio("cache_tokens_details", "cacheTokensDetails"),
    )


_SHAPES: tuple[tuple[tuple[str, ...], Callable[[_Reader], Usage]], ...] = (
    (("inputTokens", "outputTokens"), _converse),
    (("prompt_token_count", "promptTokenCount"), _gemini),
    (("prompt_tokens", "completion_tokens", "prompt_cache_hit_tokens"), _chat),
    (("input_tokens_details",), _responses),
    (("input_tokens", "output_tokens"), _anthropic),
)
"""Names that only one of them has, in the order to look for them."""


def _sum(*counts: int | None) -> int | None:
    """`None` if any is unknown."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


_PARTS = (
    ("input", ("cache_read", "cache_write")),
    ("cache_write", ("cache_write_1h",)),
    ("output", ("reasoning",)),
    ("input", ("input_audio",)),
    ("output", ("output_audio",)),
    ("input_audio", ("cache_read_audio",)),
    ("cache_read", ("cache_read_audio",)),
)
"""Counts, and what can't add up to more than they are."""


def _checked(usage: Usage, dropped: list[str]) -> Reading:
    """`usage` without the parts that are more than their whole."""
    counts = usage.counts()
    for whole, parts in _PARTS:
        known = [part for part in parts if counts.get(part)]
        if known and sum(counts[part] for part in known) > counts.get(whole, 0):
            dropped += known
            for part in known:
                del counts[part]
    usage = Usage(**counts)
    return Reading(None if usage.input is None and usage.output is None else usage, tuple(dropped))


_NOT_IN_DETAILS = frozenset(
    {
        *("inputTokens", "outputTokens", "prompt_token_count", "promptTokenCount"),  # other shapes
        *("prompt_cache_hit_tokens", "cached_prompt_text_tokens", "cached_tokens"),
        *("num_cached_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    }
)


def tells_of_no_cache(reported: Mapping[str, Any], minimum: int | None) -> bool:
    """Whether nothing of a prompt was cached, nor could it be: nothing is reported of a cache, or it has
    fewer tokens than `minimum`.

    That is certain of OpenAI's chat completions only: it is asked while a call waits, and says no of others.
    """
    prompt, details = reported.get("prompt_tokens"), reported.get("prompt_tokens_details")
    if type(prompt) is not int or not _NOT_IN_DETAILS.isdisjoint(reported):
        return False
    if details is None:
        return True
    if type(details) is not dict or "cache_creation_tokens" in details:
        return False
    read, written = details.get("cached_tokens"), details.get("cache_write_tokens")
    if read or written:
        return False
    if read is None and written is None:
        return True
    return minimum is not None and 0 <= prompt < minimum
