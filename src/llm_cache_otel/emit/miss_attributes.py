"""Why nothing was found or read, as attributes of spans."""

from __future__ import annotations

from llm_cache_otel.emit import names
from llm_cache_otel.emit.bill_attributes import MaybeAttributes
from llm_cache_otel.facts import CallFacts, Divergence, MissReason, PromptFinding, Verdict


def miss_attributes(call: CallFacts, verdict: Verdict) -> MaybeAttributes:
    """Where a request differs from the earlier one that it is nearest to, if that is why it missed."""
    miss = call.miss
    if miss is None or verdict.reason is not miss.reason:
        return {}
    is_near = miss.reason is MissReason.NEAR_DUPLICATE_PROMPT
    return {
        **_divergence_attributes(miss.divergence),
        names.DIVERGENCE_PARTS: miss.parts if len(miss.parts) > 1 else None,
        names.DIVERGENCE_VOLATILE: miss.is_volatile if is_near else None,
    }


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
