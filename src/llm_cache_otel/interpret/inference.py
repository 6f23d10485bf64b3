"""What prices depend on."""

from __future__ import annotations

from collections.abc import Iterator

from llm_cache_otel.facts import InferenceResponse, Usage
from llm_cache_otel.facts.fact import fact

_STANDARD = frozenset(
    {"", "default", "standard", "auto", "on_demand", "unspecified", "traffic_type_unspecified"}
)
"""What providers call the service that their usual prices are for."""


@fact
class Inference:
    """What was used, of whom, and when (seconds since the Unix epoch).

    `models` are its names, the most telling first; `context` is what else prices depend on.
    """

    provider: str | None
    models: tuple[str, ...]
    usage: Usage
    seconds: float
    context: tuple[tuple[str, str], ...] = ()


def inference_of(
    provider: str | None,
    requested: str | None,
    response: InferenceResponse,
    usage: Usage,
    seconds: float,
) -> Inference:
    models = tuple(dict.fromkeys(filter(None, (response.model, requested))))
    when = seconds if response.created is None else response.created
    return Inference(provider, models, usage, when, tuple(_context(response)))


def _context(response: InferenceResponse) -> Iterator[tuple[str, str]]:
    """How it was processed, in genai-prices' terms, where that is not the standard way."""
    reported = response.reported or {}
    # Anthropic and Gemini tell it with the usage, Vertex AI as `ON_DEMAND`, `ON_DEMAND_FLEX` and the like.
    said = (
        response.service_tier,
        *map(reported.get, ("service_tier", "traffic_type", "trafficType")),
    )
    tier = next(
        (tier.lower().removeprefix("on_demand_") for tier in said if isinstance(tier, str)), ""
    )
    if tier not in _STANDARD:
        yield ("processing", "batch") if tier == "batch" else ("service_tier", tier)
    speed = reported.get("speed")
    if isinstance(speed, str) and speed not in _STANDARD:
        yield "speed", speed.lower()
