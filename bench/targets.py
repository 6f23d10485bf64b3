"""What watching may cost at most; the tables tell what it does."""

from __future__ import annotations

from bench.names import OURS, UNSAMPLED

CALL: dict[tuple[str, str], tuple[float, float | None]] = {
    (OURS, "hit"): (1.03, 1.08),
    (OURS, "miss"): (1.05, 1.10),
    (UNSAMPLED, "hit"): (1.02, None),
}
"""Wall and CPU of a case's call, as ratios to bare Instructor's."""

IMPORT_MS = 30.0
MEMORY_MB = 20.0


def met(found: float, most: float) -> str:
    return f"≤ {most:g} {'✓' if found <= most else '✗'}"
