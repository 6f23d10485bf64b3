"""What the provider's prompt cache did for an inference, and why it did no more."""

from __future__ import annotations

from dataclasses import replace

from llm_cache_otel.facts import (
    AttemptFacts,
    Bill,
    CallFacts,
    Divergence,
    PromptFinding,
    PromptOutcome,
    PromptReason,
    Section,
    SentPrompt,
    Usage,
)
from llm_cache_otel.interpret.prompt_rules import PromptRule, PromptRules
from llm_cache_otel.interpret.sent_prompts import Comparison, SentPrompts
from llm_cache_otel.interpret.usage import tells_of_no_cache

Models = tuple[str | None, str | None, str | None]
"""A provider, the model that it was asked for, and the one that answered."""

_USUAL_MINIMUM = 1024
_MOST_MODELS = 512
_MARGIN = 1.15
"""By how much an estimate of tokens may be wrong for anything to be concluded from it."""

_DIAGNOSED = {
    "model_changed": "model",
    "system_changed": "system",
    "tools_changed": "tools",
    "messages_changed": "messages",
}
"""What Anthropic says differs from the earlier prompt that it was told to compare with."""


class PromptCaches:
    """Thread-safe."""

    def __init__(self, rules: PromptRules, sent: SentPrompts) -> None:
        self._rules = rules
        self._sent = sent
        self._minimums: dict[Models, int] = {}

    def is_uncached(self, models: Models, reported: object) -> bool:
        """Whether it is certain that nothing is told by an inference's prompt: no cache had a part in it.

        How short a prompt may be for any is known of models that were told of before.
        """
        if not isinstance(reported, dict):
            return False
        return tells_of_no_cache(reported, self._minimums.get(models))

    def of_attempts(
        self, call: CallFacts, bills: tuple[Bill | None, ...]
    ) -> tuple[PromptFinding | None, ...]:
        """One for each attempt; `None` for one that failed before there was any answer."""
        pairs = zip(call.attempts, bills, strict=True)
        return tuple(
            None if bill is None else self._of_attempt(attempt, bill.usage)
            for attempt, bill in pairs
        )

    def _of_attempt(self, attempt: AttemptFacts, usage: Usage | None) -> PromptFinding:
        if usage is None or (usage.cache_read is None and usage.cache_write is None):
            return PromptFinding(PromptOutcome.UNREPORTED)
        models = tuple(filter(None, (attempt.response.model, attempt.request.model)))
        rule = self._rules.of(attempt.request.provider, models)
        if rule.minimum is not None and len(self._minimums) < _MOST_MODELS:
            asked = attempt.request
            self._minimums[asked.provider, asked.model, attempt.response.model] = rule.minimum
        outcome = _outcome(usage)
        if outcome is PromptOutcome.MISS and _is_short(usage, rule):
            return _too_short(rule.minimum)
        if attempt.prompt is None:
            is_read = outcome is PromptOutcome.READ
            return PromptFinding(outcome, None if is_read else PromptReason.UNEXPLAINED)
        found = self._of_prompt(attempt, attempt.prompt, outcome, usage, rule)
        return _as_diagnosed(found, attempt.response.cache_miss)

    def _of_prompt(
        self,
        attempt: AttemptFacts,
        prompt: SentPrompt,
        outcome: PromptOutcome,
        usage: Usage,
        rule: PromptRule,
    ) -> PromptFinding:
        cached = prompt
        if rule.is_marked:
            cached = replace(prompt, sections=_marked(prompt.sections))
            if not cached.sections and outcome is PromptOutcome.MISS:
                return PromptFinding(PromptOutcome.INELIGIBLE, PromptReason.UNMARKED)
        compared = self._sent.compare_and_add(
            cached, attempt.interval, rule.retention, is_marked=rule.is_marked
        )
        tokens = _Tokens(prompt, usage.input)
        minimum = _USUAL_MINIMUM if rule.minimum is None else rule.minimum
        is_short = rule.is_marked and tokens.of(compared.total) < minimum * _MARGIN
        if is_short and rule.minimum is not None and outcome is PromptOutcome.MISS:
            # What is marked and long enough is written if it is not read.
            return _too_short(rule.minimum)
        expected = tokens.of(compared.readable)
        is_known = not prompt.is_mixed and expected >= max(minimum, 1)
        kept = compared.asked if outcome is PromptOutcome.WRITE else None
        found = PromptFinding(outcome, expected=expected if is_known else None, kept=kept)
        if outcome is PromptOutcome.READ:
            return found
        reason = _why_unread(compared, tokens, minimum)
        if prompt.is_mixed and reason is not PromptReason.FIRST_SEEN:
            reason = (
                PromptReason.UNEXPLAINED
            )  # of images and the like nobody knows how many tokens they are
        where = compared.diverges if reason is PromptReason.PREFIX_CHANGED else None
        return replace(found, reason=reason, divergence=where)


def _too_short(minimum: int | None) -> PromptFinding:
    reason = PromptReason.BELOW_MINIMUM
    return PromptFinding(PromptOutcome.INELIGIBLE, reason, minimum=minimum)


def _as_diagnosed(found: PromptFinding, said: str | None) -> PromptFinding:
    """With what the provider itself says that has changed; where in it, only we may know."""
    part = _DIAGNOSED.get(said or "")
    if part is None or found.outcome not in (PromptOutcome.WRITE, PromptOutcome.MISS):
        return found
    where = found.divergence
    if where is None or where.part != part:
        where = Divergence(part)
    return replace(found, reason=PromptReason.PREFIX_CHANGED, divergence=where)


def _outcome(usage: Usage) -> PromptOutcome:
    if usage.cache_read:
        return PromptOutcome.READ
    return PromptOutcome.WRITE if usage.cache_write else PromptOutcome.MISS


def _is_short(usage: Usage, rule: PromptRule) -> bool:
    return usage.input is not None and rule.minimum is not None and usage.input < rule.minimum


def _marked(sections: tuple[Section, ...]) -> tuple[Section, ...]:
    """All up to the last that the provider is asked to keep."""
    last = max(
        (number for number, one in enumerate(sections, 1) if one.retention is not None), default=0
    )
    return sections[:last]


class _Tokens:
    """An estimate: characters stand for as many tokens all through a prompt."""

    def __init__(self, prompt: SentPrompt, tokens: int | None) -> None:
        characters = sum(len(section.text) for section in prompt.sections)
        self._each = (tokens or 0) / max(1, characters)

    def of(self, characters: int) -> int:
        return round(characters * self._each)


def _why_unread(compared: Comparison, tokens: _Tokens, minimum: int) -> PromptReason:
    if tokens.of(compared.readable) >= minimum * _MARGIN:
        is_over = compared.retention is not None and compared.idle > compared.retention
        return PromptReason.EXPIRED if is_over else PromptReason.UNEXPLAINED
    without_change = tokens.of(compared.shared + compared.moved)
    if tokens.of(compared.moved) * 4 >= minimum and without_change >= minimum * _MARGIN:
        return PromptReason.PREFIX_CHANGED
    if without_change * _MARGIN < minimum:
        return PromptReason.FIRST_SEEN
    return PromptReason.UNEXPLAINED
