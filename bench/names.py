"""What the contenders are called."""

from __future__ import annotations

BARE, OURS, UNSAMPLED = "bare", "llm-cache-otel", "llm-cache-otel, unsampled"
FLOOR, WRAPPED = "the SDK alone", "wrappers, the SDK on a thread"
COST = (
    *(BARE, OURS, UNSAMPLED, FLOOR, WRAPPED),
    *("openinference", "openllmetry (openai)", "genai-openai", "cachelens"),
)
LOOP = BARE, OURS, FLOOR, WRAPPED
OUTAGES = ("answers", "is absent", "hangs", "refuses", "throttles")
"""A Collector that each sends to."""
