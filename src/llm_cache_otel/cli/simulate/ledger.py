"""What a simulated provider has counted, and would charge for."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from llm_cache_otel.cli.simulate.prompt_cache import Input


@dataclass(frozen=True, slots=True)
class Used:
    """Tokens of one answered request."""

    input: Input
    output: int


@dataclass
class Ledger:
    """Answers by model, and what they took: `plain` input, `read`, `write_5m`, `write_1h`, `output`.

    Every request that is answered is charged for, whatever becomes of the answer. Thread-safe.
    """

    answers: Counter[str] = field(default_factory=Counter[str])
    tokens: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    requests: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count_request(self) -> None:
        with self._lock:
            self.requests += 1

    def bill(self, model: str, used: Used) -> None:
        with self._lock:
            self.answers[model] += 1
            self.tokens[model].update(
                plain=used.input.total - used.input.read - used.input.written,
                read=used.input.read,
                write_5m=used.input.write_5m,
                write_1h=used.input.write_1h,
                output=used.output,
            )
