"""What was sent to a provider as a prompt, and what its prompt cache made of it."""

from __future__ import annotations

from dataclasses import field

from llm_cache_otel.facts.fact import fact
from llm_cache_otel.facts.miss import Divergence, Section
from llm_cache_otel.facts.reasons import PromptOutcome, PromptReason

_LONGEST_REST = 1_024
"""Characters of JSON: roles, names and markers are less."""


@fact
class SentPrompt:
    """Readable: it is made into digests when the call ends, and not kept.

    Prompts of one `space` share what the provider caches. `retention` is how many seconds it is asked to
    keep a prompt, `None` for as long as it does by itself.
    """

    space: int = field(repr=False)
    sections: tuple[Section, ...] = field(repr=False)
    retention: float | None = None

    @property
    def length(self) -> int:
        """In characters."""
        return sum(len(section.text) + len(section.rest) for section in self.sections)

    @property
    def is_mixed(self) -> bool:
        """Whether there is more than text in it, such as images."""
        return any(len(section.rest) > _LONGEST_REST for section in self.sections)


@fact
class PromptFinding:
    """`expected` is how many tokens should have been read of what this process had sent, an estimate.

    `minimum` is from how many on the provider would have cached a prompt that was too short; `kept` for how
    many seconds it keeps what was written.
    """

    outcome: PromptOutcome
    reason: PromptReason | None = None
    divergence: Divergence | None = None
    expected: int | None = None
    minimum: int | None = None
    kept: float | None = None
