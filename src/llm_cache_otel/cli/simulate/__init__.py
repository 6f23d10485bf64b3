"""A simulated LLM provider: a real HTTP server that speaks the wire formats of real ones.

Answers are made from the JSON schema that a request carries, the same for the same request, so that
structured clients such as Instructor work against it unchanged.
"""

from llm_cache_otel.cli.simulate.cues import Cue
from llm_cache_otel.cli.simulate.server import SimulatedProvider

__all__ = ["Cue", "SimulatedProvider"]
