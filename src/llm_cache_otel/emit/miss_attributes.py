"""Why nothing was found or read, as attributes of spans."""

from __future__ import annotations

from llm_cache_otel.emit import names
from llm_cache_otel.emit.bill_attributes import MaybeAttributes
from llm_cache_otel.facts import CallFacts, Divergence, PromptFinding, Verdict


def miss_attributes(call: CallFacts, verdict: Verdict) -> MaybeAttributes:
    """Where a request differs from the earlier one that it is nearest to, if that is why it missed."""
    if call.miss is None or verdict.reason is not call.miss.reason:
        return {}
    return _divergence_attributes(call.miss.divergence)


def prompt_attributes(found: PromptFinding | None) -> MaybeAttributes:
    """Of an attempt."""
    if found is None:
        return {}
    return {
        names.PROMPT_OUTCOME: found.outcome.value,
        names.PROMPT_REASON: None if found.reason is None else found.reason.value,
        names.PROMPT_EXPECTED: found.expected,
        **_divergence_attributes(found.divergence),
    }


def _divergence_attributes(divergence: Divergence | None) -> MaybeAttributes:
    if divergence is None:
        return {}
    return {
        names.DIVERGENCE_PART: divergence.part,
        names.DIVERGENCE_MESSAGE: divergence.message,
        names.DIVERGENCE_OFFSET: divergence.offset,
        names.DIVERGENCE_BLOCK: divergence.block,
    }
