"""Writes the dashboards that Grafana is provisioned with: `make dashboards`.

Their source is `panels/`; a test holds that what is committed in `dashboards/` is what comes of it.
"""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from panels.diagnosis import diagnosis
from panels.fleet import fleet
from panels.latency import latency
from panels.overview import overview

FOLDER = Path(__file__).parent / "dashboards"


def encoded(board: Dashboard) -> str:
    return JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(board) + "\n"


def files() -> dict[str, str]:
    """What is to be in the folder, by file name."""
    written = {}
    for make in (overview, diagnosis, latency, fleet):
        board = make().build()
        for number, panel in enumerate(board.panels or [], start=1):
            panel.id_val = number
        written[f"{make.__name__}.json"] = encoded(board)
    return written


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text)
