"""docs/tutorial.md: Alice and Bob run each command of it, in its order, and see what it says that they see."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.support.machines import BLOCK, Block, Machine

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
SHOWN = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EITHER = re.compile(f"{BLOCK.pattern}|{SHOWN.pattern}", re.MULTILINE | re.DOTALL)
PLACEHOLDERS = {
    "TICKET": re.compile(r"PP1[A-Z2-7]+"),
    "NUMBER": re.compile(r"(?:\d{5} ){11}\d{5}"),
    "ID": re.compile(r"^([a-z2-7]{8}) +alice +text", re.MULTILINE),
}
"""What the page has people fill in, and how it looks where it was printed."""
pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or sys.platform == "win32", reason="the page is for bash"
)


def steps(text: str) -> list[tuple[Block, list[str]]]:
    """Return each block of commands, with the lines that it is said to print."""
    found: list[tuple[Block, list[str]]] = []
    for match in EITHER.finditer(text):
        if match[1]:
            found.append((Block(match[1], match[2], match[3]), []))
        else:
            found[-1][1].extend(line for line in match[4].splitlines() if line)
    return found


def test_alice_and_bob(folder: Path) -> None:
    people = {name: Machine(folder, name) for name in ("alice", "bob")}
    known: dict[str, str] = {}
    printed: list[str] = []
    try:
        for block, expected in steps(TUTORIAL.read_text(encoding="utf-8")):
            text = block.text
            for word, value in known.items():
                text = re.sub(rf"\b{word}\b", value, text)
            wanted = "See you on Monday." if "--unread" in text else ""
            shown = until_it_shows(people[block.whose], text, wanted)
            for line in expected:
                pattern = re.escape(line).replace("…", ".*")
                assert re.search(f"^{pattern}$", shown, re.MULTILINE), (text, line, shown)
            for word, pattern in PLACEHOLDERS.items():
                if match := re.search(pattern, shown):
                    known[word] = match[match.lastindex or 0]
            printed.append(shown)
        assert set(known) == set(PLACEHOLDERS)
        assert "delivered" in printed[-1]
        rows = people["alice"].bash("peerpost --json contacts list")
        assert '"verified": true' in rows
        assert (people["alice"].home / "from-bob" / "holiday" / "sea.txt").read_text() == "sea\n"
    finally:
        for machine in people.values():
            machine.bash("peerpost node stop || true")


def until_it_shows(machine: Machine, text: str, wanted: str) -> str:
    """Run commands until they show something, as who reads the page would look again in a moment."""
    deadline_s = time.monotonic() + 60
    while wanted not in (shown := machine.bash(text)):
        assert time.monotonic() < deadline_s, shown
        time.sleep(0.2)
    return shown
