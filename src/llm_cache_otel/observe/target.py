"""What is observed, and for whom: known before it is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_cache_otel.observe.ports import Reporter


@dataclass(slots=True)
class Watch:
    """Whether the functions that were handed out for a target are still watched, and what for.

    `given` is whether the target itself was given to `instrument`, and is not seen only because all are.
    """

    reporter: Reporter
    name: str | None
    given: bool
    on: bool = True

    def is_on(self) -> bool:
        return self.on

    def tell(self, reporter: Reporter, name: str | None, *, given: bool) -> None:
        """Watch on, from the next call for somebody else."""
        self.reporter, self.name, self.given = reporter, name, given


@dataclass(slots=True)
class Target:
    """What is known of an instrumented client before it is called.

    `sdk_client` is the provider's client (`None` where there is none, as with LiteLLM), `provider` a
    `gen_ai.provider.name`, `mode` the value of Instructor's `Mode`; both are learned from the first
    seam where only Instructor's inside knows them (clients changed by `instructor.patch`).
    """

    watch: Watch
    sdk_client: Any = None
    provider: str | None = None
    mode: str | None = None

    def sdk(self) -> Any:
        return self.sdk_client
