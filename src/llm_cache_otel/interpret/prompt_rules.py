"""From which length on providers cache prompts, and for how long: one table, as their pages had it in 2026.

- A: https://platform.claude.com/docs/en/build-with-claude/prompt-caching
- B: https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
- D: https://api-docs.deepseek.com/guides/kv_cache
- G: https://ai.google.dev/gemini-api/docs/caching
- M: https://docs.mistral.ai/studio-api/conversations/advanced/prompt-caching
- O: https://developers.openai.com/api/docs/guides/prompt-caching
- Q: https://console.groq.com/docs/prompt-caching
- Z: https://learn.microsoft.com/azure/foundry/openai/how-to/prompt-caching

They are hints: providers change them, and pages differ. `Settings` has the user's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from llm_cache_otel.facts.fact import fact

_MINUTE = 60.0
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


@fact
class PromptRule:
    """Of a model: `minimum` is in tokens, `retention` in seconds that a prefix may lie unread.

    Either is `None` if unknown; `is_marked` where nothing is cached but what the request marks.
    """

    minimum: int | None = None
    retention: float | None = None
    is_marked: bool = False


def _claude(minimum: int | None) -> PromptRule:
    return PromptRule(minimum, 5 * _MINUTE, is_marked=True)


_BY_MODEL: tuple[tuple[str, str, PromptRule], ...] = (
    # Provider, model, rule; of these the first that both match.
    (
        "",
        r"claude-(haiku|sonnet|opus)-5-5|claude-opus-5|claude-(fable|mythos)-5",
        _claude(512),
    ),  # A
    ("", r"claude-(opus-4-[56]|haiku-4-5)", _claude(4096)),  # A, B
    ("aws.bedrock", r"claude-opus-4-7", _claude(4096)),  # B
    ("", r"claude-(opus-4-7|mythos-preview|3-5-haiku|3-haiku)", _claude(2048)),  # A
    ("", r"claude-(sonnet-[45]|opus-4|3-7-sonnet|3-5-sonnet|3-opus)", _claude(1024)),  # A
    ("", r"claude", _claude(None)),
    ("", r"nova-", PromptRule(1000, 5 * _MINUTE)),  # B: unmarked too, though less surely
    ("", r"gemini-3-flash", PromptRule(1024)),  # G in May; no page says how long
    ("", r"gemini-2\.5", PromptRule(2048)),  # G
    ("", r"gemini-", PromptRule(4096)),  # G
    ("", r"deepseek", PromptRule(64)),  # D: "a few hours to a few days"
    ("mistral_ai", r"", PromptRule(64)),  # M
    ("groq", r"", PromptRule(None, 2 * _HOUR)),  # Q: 128 to 1,024, by model
    ("", r"gpt-5\.([6-9]|\d\d)|gpt-[6-9]", PromptRule(1024, 30 * _MINUTE)),  # O, Z: at least
    ("", r"gpt-5\.5", PromptRule(1024, _DAY)),  # O, Z
    ("azure.ai.openai", r"", PromptRule(1024, 10 * _MINUTE)),  # Z: 5 to 10 minutes
    ("openai", r"gpt-5\.[124]|gpt-5($|-\d|-codex)|gpt-4\.1($|-\d)", PromptRule(1024, _DAY)),  # O
    ("", r"gpt-|chatgpt-|(^|/)o[134]", PromptRule(1024, 10 * _MINUTE)),  # O: 5 to 10 minutes
)


class PromptRules:
    """The table, and before it what the user says of models by name."""

    def __init__(self, minimums: Mapping[str, int], retentions: Mapping[str, float]) -> None:
        self._minimums = minimums
        self._retentions = retentions

    def of(self, provider: str | None, models: tuple[str, ...]) -> PromptRule:
        """`models` are one model's names: what was asked for, and what answered."""
        rule = next(
            (
                rule
                for of_provider, pattern, rule in _BY_MODEL
                if of_provider in ("", provider)
                and any(re.search(pattern, model) for model in models)
            ),
            PromptRule(),
        )
        for model in models:
            if model in self._minimums:
                rule = replace(rule, minimum=self._minimums[model])
            if model in self._retentions:
                rule = replace(rule, retention=self._retentions[model])
        return rule
