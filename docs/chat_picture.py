"""Draw docs/chat.svg, the chat that docs/chat.md shows: `python3 dev.py chatpicture`. It needs tmux.

Three real nodes on loopback, each with a home of its own: Alice runs `peerpost chat` in a terminal, Bob answers, Carol
has sent something too, and what that terminal shows in the end is drawn as text.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from docs.session import FORMAT
from tests.support.machines import Machine
from tests.support.tmux import Pane

__all__ = ["draw", "play"]

PICTURE = Path(__file__).with_name("chat.svg")
COLUMNS, LINES = 84, 24
PLAN_BYTES = 48_213


def play(folder: Path) -> str:
    """Run the chat in a folder with a short name; return what the terminal shows in the end, with colours as codes."""
    people = alice, bob, carol = [Machine(folder, name) for name in ("alice", "bob", "carol")]
    (bob.home / "plan.pdf").write_bytes(os.urandom(PLAN_BYTES))
    pane = Pane(folder, COLUMNS, LINES, alice.env | {"COLORTERM": "truecolor"})
    try:
        for one in people:
            one.bash(f"peerpost identity new --name {one.name} --no-passphrase")
        for one in (bob, carol):
            alice.bash(f"peerpost contacts invite {one.name} --no-qr > {folder}/{one.name}.ticket")
            one.bash(f"peerpost contacts add alice --ticket-file {folder}/{one.name}.ticket")
        carol.bash('peerpost send --contact alice --wait "The photos are on the NAS."')
        bob.bash('peerpost send --contact alice --wait "Is the build green?"')
        number = _field(alice, "bob", "safety_number")
        alice.bash(f"peerpost contacts verify bob '{number}'")
        pane.type("clear; peerpost chat bob")
        pane.keys("Enter")
        pane.until("bob: online", "Is the build green?")
        pane.type("It is, since this morning.")
        pane.keys("C-j")
        pane.type("Do you have the plan for Thursday?")
        pane.keys("Enter")
        pane.until("delivered")
        bob.bash("peerpost send --contact alice --wait --file plan.pdf")
        pane.until("file: plan.pdf")
        bob.bash('peerpost send --contact alice --wait "Here it is. Look at page 3 first."')
        pane.until("page 3")
        pane.type("I will, thank")
        pane.until("I will, thank")
        return pane.shown(styled=True)
    finally:
        pane.close()
        for one in people:
            one.bash("peerpost node stop || true")


def _field(machine: Machine, contact: str, field: str) -> str:
    import json

    shown = json.loads(machine.bash(f"peerpost --json contacts show {contact}"))
    return str(shown[field])


def draw(shown: str) -> str:
    """Return a picture of a screen: SVG with text in it, and nothing that is loaded from elsewhere."""
    console = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    # As a whole: the colour of one line goes on in the next.
    console.print(Text.from_ansi(shown.rstrip("\n")), no_wrap=True, overflow="crop")
    made = FORMAT.replace("dev.py picture", "dev.py chatpicture")
    return console.export_svg(title="peerpost chat", code_format=made, unique_id="chat")


def main() -> int:
    """Play the chat and write the picture."""
    with tempfile.TemporaryDirectory(prefix="pp-") as folder:
        shown = play(Path(folder))
    PICTURE.write_text(draw(shown), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
