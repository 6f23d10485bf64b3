"""What the calls took that stored an entry: that is what a hit spares."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from llm_cache_otel import forks
from llm_cache_otel.facts import Bill, InferenceResponse, Origin
from llm_cache_otel.facts.fact import fact

_MOST_ENTRIES = 8_192


@fact
class StoredCall:
    """`seconds` is `None` where the call was another process's; `response_id` is the provider's.

    `origin` is where it was a function.
    """

    seconds: float | None
    bill: Bill
    response_id: str | None = None
    origin: Origin | None = None

    def may_be_of(self, entry: InferenceResponse) -> bool:
        """Not if another response has taken its place since, which another process may have stored.

        An entry that keeps nothing of a response does not tell.
        """
        return entry.id == self.response_id or entry == InferenceResponse()

    def saved_by(self, seconds: float) -> float | None:
        """The seconds that a hit spared which took so many itself, never negative."""
        return None if self.seconds is None else max(0.0, self.seconds - seconds)


class StoredCalls:
    """By entry, such as the hash of its key, of the latest 8,192 seen in this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._calls: OrderedDict[Hashable, StoredCall] = OrderedDict()
        self.get: Callable[[Hashable], StoredCall | None] = self._calls.get
        """Without the lock: it is one step."""

    def put(self, entry: Hashable, call: StoredCall) -> None:
        with self._lock:
            self._calls[entry] = call
            self._calls.move_to_end(entry)
            if len(self._calls) > _MOST_ENTRIES:
                self._calls.popitem(last=False)
