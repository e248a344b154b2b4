"""Draw docs/session.svg, the session that the README shows: `python3 dev.py picture`.

Two real nodes on loopback, each with a home of its own, run the commands below in a terminal, and what that terminal
shows in the end is drawn as text. Only keys, ids, tickets and speeds differ from one drawing to the next.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.support.machines import Machine
from tests.support.terminal import shown_by

__all__ = ["COLUMNS", "PEOPLE", "SESSION", "TICKET", "Step", "draw", "main", "play"]

PICTURE = Path(__file__).with_name("session.svg")
COLUMNS, LINES = 100, 50
PHOTOS, PHOTO_BYTES = 24, 3_000_000
TICKET = re.compile(r"PP1[A-Z2-7]+")
PEOPLE = {"alice": "bold cyan", "bob": "bold magenta"}

SESSION = (
    ("alice", "peerpost identity new --name alice --no-passphrase", False),
    ("bob", "peerpost identity new --name bob --no-passphrase", False),
    ("alice", "peerpost contacts invite bob --no-qr", True),
    ("bob", "peerpost contacts add alice TICKET", True),
    ("alice", 'peerpost send --contact bob "The build is green."', True),
    ("alice", "peerpost send --contact bob --file photos --wait", True),
    ("bob", "peerpost inbox list", True),
    ("bob", "peerpost inbox save --all --files --out ~/from-alice/", True),
    ("alice", "peerpost sent list", True),
)
"""Who types what, and whether the picture shows it. TICKET stands for the ticket that was printed before."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and what the terminal shows of it in the end, with colours as ANSI codes."""

    person: str
    command: str
    output: str


def in_terminal(machine: Machine, command: str) -> tuple[int, bytes]:
    """Run a command as the program of a terminal; return its exit code and every byte that it writes there."""
    return shown_by(
        ["bash", "-c", command], lines=LINES, columns=COLUMNS, env=machine.env, cwd=machine.home
    )


def play(
    folder: Path,
    session: Sequence[tuple[str, str, bool]] = SESSION,
    run: Callable[[Machine, str], tuple[int, bytes]] = in_terminal,
) -> list[Step]:
    """Run the session in a folder with a short name, each command by `run`; return the steps that are shown.

    Raises RuntimeError when a command fails.
    """
    people = {name: Machine(folder, name) for name in PEOPLE}
    photos = people["alice"].home / "photos"
    photos.mkdir()
    for number in range(PHOTOS):
        (photos / f"{number:04}.jpg").write_bytes(os.urandom(PHOTO_BYTES))
    shown: list[Step] = []
    ticket = ""
    try:
        for person, command, is_shown in session:
            typed = command.replace("TICKET", ticket)
            code, written = run(people[person], typed)
            if code:
                raise RuntimeError(f"{typed!r} ended with {code}: {_final(written)}")
            output = _final(written).replace(str(folder), "/home")
            ticket = next(iter(TICKET.findall(output)), ticket)
            if is_shown:
                shown.append(Step(person, typed, output))
    finally:
        for machine in people.values():
            machine.bash("peerpost node stop || true")
    return shown


def _final(written: bytes) -> str:
    """Return the lines that are left once each progress bar was drawn for the last time.

    A bar is redrawn by going to the start of its line (CR) and up (CSI A), erasing (CSI 2K) and writing again.
    """
    lines = [""]
    row = 0
    text = re.sub(r"\x1b\[\?\d+[hl]", "", written.decode())
    for part in re.findall(r"\x1b\[2K|\x1b\[\d*A|\r|\n|(?:(?!\x1b\[2K|\x1b\[\d*A)[^\r\n])+", text):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif up := re.fullmatch(r"\x1b\[(\d*)A", part):
            row = max(0, row - int(up[1] or 1))
        elif part != "\r":
            lines[row] += part
    return "\n".join(lines).rstrip()


def draw(steps: list[Step]) -> str:
    """Return a picture of the steps: SVG with text in it, and nothing that is loaded from elsewhere."""
    console = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    for step in steps:
        prompt = Text.assemble((f"{step.person:>5}$ ", PEOPLE[step.person]), (step.command, "bold"))
        console.print(_wrapped(prompt))
        if step.output:
            console.print(_wrapped(Text.from_ansi(step.output)))
    return console.export_svg(title="Peerpost", code_format=FORMAT, unique_id="session")


def _wrapped(text: Text) -> Text:
    """Return a text broken where a terminal breaks it: at the edge, not between words."""
    rows = [
        row for line in text.split("\n") for row in line.divide(range(COLUMNS, len(line), COLUMNS))
    ]
    return Text("\n").join(rows)


FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<!-- made by `python3 dev.py picture` from two running nodes -->
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; white-space: pre; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own form loads a font from the network."""


def main() -> int:
    """Play the session and write the picture."""
    with tempfile.TemporaryDirectory(prefix="pp-") as folder:
        steps = play(Path(folder))
    for step in steps:
        print(f"{step.person}$ {step.command}\n{step.output}")
    PICTURE.write_text(draw(steps), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
