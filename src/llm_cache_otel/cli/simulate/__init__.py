"""A simulated LLM provider: a real HTTP server that speaks the wire formats of real ones.

Answers are made from the JSON schema that a request carries as a tool or a response format, the same
for the same request, so that structured clients such as Instructor work against it unchanged. They are
made up: a request that carries no schema gets prose.
"""

from llm_cache_otel.cli.simulate.cues import Cue
from llm_cache_otel.cli.simulate.server import SimulatedProvider

__all__ = ["Cue", "SimulatedProvider"]
