"""How long a hit spared the caller: what the storing call took minus what the hit took."""

from __future__ import annotations

from collections import OrderedDict

from llm_cache_otel import forks
from llm_cache_otel.facts import CallFacts, Outcome

_MOST_ENTRIES = 16_384


class StoringDurations:
    """Durations of the calls that stored an entry, in seconds, by digest of the key.

    Of the latest 16,384 stored in this process; thread-safe.
    """

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._seconds: OrderedDict[str, float] = OrderedDict()

    def saved_by(self, call: CallFacts, outcome: Outcome | None) -> float | None:
        """The seconds that a hit saved, never negative; `None` where the storing call was not seen.

        A call that stored its answer is remembered for later hits.
        """
        if call.key is None or call.key.digest is None:
            return None
        digest = call.key.digest
        if outcome is Outcome.HIT:
            with self._lock:
                stored = self._seconds.get(digest)
            return None if stored is None else max(0.0, stored - call.interval.seconds)
        if call.store is not None and call.store.error_type is None:
            with self._lock:
                self._seconds[digest] = call.interval.seconds
                self._seconds.move_to_end(digest)
                if len(self._seconds) > _MOST_ENTRIES:
                    self._seconds.popitem(last=False)
        return None
