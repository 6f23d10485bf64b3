"""Draws docs/demo.svg: what `llm-cache-otel demo` prints in a terminal, from its first trace on.

python docs/picture.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 88


def main() -> None:
    environment = {
        **os.environ,
        "COLUMNS": str(WIDTH),
        "FORCE_COLOR": "1",
        "TERM": "xterm-256color",
    }
    done = subprocess.run(
        [sys.executable, "-m", "llm_cache_otel", "demo"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    shown = Text.from_ansi(done.stdout)
    start, end = shown.plain.index("A miss"), shown.plain.index("In a program of your own")
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123
    console.print(shown[start:end])
    path = Path(__file__).with_name("demo.svg")
    console.save_svg(str(path), title="llm-cache-otel demo")


if __name__ == "__main__":
    main()
