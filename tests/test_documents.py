"""Documents are whole, and lead where they say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "collector-config").rglob("*.md")),
]
MARKER = re.compile(rb"^(?:<{7}|>{7}) ", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"[a-z]+:|#")


def test_no_merge_was_left_half_done() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("what is tracked is known in a clone only")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    tracked = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert ROOT / "README.md" in tracked
    files = [file for file in tracked if file.is_file()]
    assert [file for file in files if MARKER.search(file.read_bytes())] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_name_what_is_there(document: Path) -> None:
    links = [link for link in LINK.findall(document.read_text()) if not ELSEWHERE.match(link)]
    gone = [link for link in links if not (document.parent / link.partition("#")[0]).exists()]
    assert gone == []
