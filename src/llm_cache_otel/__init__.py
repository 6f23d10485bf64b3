"""Makes the caching of LLM calls visible: `client = instrument(client)`."""

from llm_cache_otel._version import __version__
from llm_cache_otel.caching import instructor_cache
from llm_cache_otel.instrument import flush, instrument, uninstrument
from llm_cache_otel.interpret.rates import Rates
from llm_cache_otel.settings import Settings

__all__ = [
    "Rates",
    "Settings",
    "__version__",
    "flush",
    "instructor_cache",
    "instrument",
    "uninstrument",
]
