"""One call of a provider's SDK: no cache is asked, and one attempt is made."""

from __future__ import annotations

from llm_cache_otel.observe.attempt import Attempt
from llm_cache_otel.observe.call import Call
from llm_cache_otel.observe.sdk_methods import Asked
from llm_cache_otel.observe.step import NOWHERE, surroundings
from llm_cache_otel.observe.target import Target

_OF_THE_CALL = ("model", "stream")


class SdkCall(Call):
    """A call that ends in the SDK at once. `asks` is what its attempt asks, as in `Surroundings`."""

    def __init__(self, target: Target, asked: Asked, asks: int | None) -> None:
        request = asked.request
        around = surroundings.get(NOWHERE)
        # A `cache` of the SDK's would be no cache of responses, and nothing else is the call's.
        super().__init__(target, (), {name: request.get(name) for name in _OF_THE_CALL}, around)
        self._to_ask: Asked | None = asked
        self._asks = asks

    def attempt(self) -> Attempt | None:
        asked, self._to_ask = self._to_ask, None  # nothing of the host's is held on to
        if asked is None:
            return None
        return Attempt(self, asked.function, asked.request, asks=self._asks)
