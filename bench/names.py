"""What the contenders are called."""

from __future__ import annotations

BARE, OURS, UNSAMPLED = "bare", "llm-cache-otel", "llm-cache-otel, unsampled"
FLOOR, WRAPPED = "the SDK alone", "wrappers, the SDK on a thread"
WRAPPED_UNSAMPLED = f"{WRAPPED}, unsampled"
COST = (
    *(BARE, OURS, UNSAMPLED, FLOOR, WRAPPED, WRAPPED_UNSAMPLED),
    *("openinference", "openllmetry (openai)", "genai-openai", "cachelens"),
)
LOOP = BARE, OURS, FLOOR, WRAPPED
OUTAGES = ("answers", "is absent", "hangs", "refuses", "throttles")
"""A Collector that each sends to."""
