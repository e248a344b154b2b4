"""Record docs/recording.svg, the session of docs/session.py as it happens: `python3 dev.py picture` makes both.

What two real nodes write to a terminal is kept with its times, and each state of the screen becomes a frame. Only how
long something takes is made up: typing, and pauses, in which nobody would wait. The picture moves by CSS alone, and
stands still at its end for who wants no movement.
"""

from __future__ import annotations

import contextlib
import fcntl
import html
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pyte
from pyte.screens import Char

from docs.session import COLUMNS, SESSION, play
from tests.support.machines import Machine

__all__ = ["RECORDING", "Recorder", "main", "moving", "record"]

RECORDING = Path(__file__).with_name("recording.svg")
LINES = 34
SLOWER = ("alice", "peerpost limits set --contact bob --up 24MiB", False)
"""A limit, so that the bar of the folder can be seen."""
AFTER_TYPED_S, AFTER_DONE_S, AT_END_S = 0.4, 1.2, 6.0
KEY_S, KEYS = 0.12, 4
"""The time of a frame while somebody types, and how many keys it has."""
LONGEST_PAUSE_S, LEAST_FRAME_S = 0.5, 0.1
CELL_WIDTH, CELL_HEIGHT, MARGIN = 8.4, 18, 12
COLORS = {
    "default": "#d0d0d0",
    "cyan": "#4fb3bf",
    "magenta": "#b48ead",
    "red": "#e06c75",
    "green": "#98c379",
    "brown": "#e5c07b",
    "blue": "#61afef",
}
Row = tuple[tuple[str, str, bool], ...]
"""A line of the screen as runs: text, colour, whether it is bold."""


@dataclass
class Recorder:
    """A screen that both people share, and what it showed when."""

    folder: Path
    shown: dict[tuple[str, str], bool]
    frames: list[tuple[float, list[Row]]] = field(default_factory=list)
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.Stream(self._screen)

    def run(self, machine: Machine, command: str) -> tuple[int, bytes]:
        """Type a command and record what it shows, if it is one that is shown; return its exit code and its bytes."""
        is_shown = SLOWER[1] != command and self.shown.get((machine.name, _program(command)), True)
        if is_shown:
            self._type(machine.name, command)
        written, last_s = bytearray(), 0.0
        with _started(machine, command) as (process, terminal):
            for at_s, data in _read(terminal):
                written += data
                if is_shown:
                    text = data.decode(errors="replace").replace(str(self.folder), "/home")
                    self._stream.feed(text)
                    self._later(min(at_s - last_s, LONGEST_PAUSE_S))
                    last_s = at_s
        if is_shown:
            self._later(AFTER_DONE_S, always=True)
        return process.returncode, bytes(written)

    def _type(self, person: str, command: str) -> None:
        color = {"alice": "36", "bob": "35"}[person]
        self._stream.feed(f"\x1b[1;{color}m{person:>5}$ \x1b[0m\x1b[1m")
        words = command.split(" ")
        # A ticket is pasted.
        pieces = [word if len(word) > 40 else f"{word} " for word in words]
        for piece in pieces:
            step = len(piece) if len(piece) > 40 else KEYS
            for start in range(0, len(piece), step):
                self._stream.feed(piece[start : start + step])
                self._later(KEY_S, always=True)
        self._stream.feed("\x1b[0m\r\n")
        self._later(AFTER_TYPED_S, always=True)

    def _later(self, passed_s: float, *, always: bool = False) -> None:
        """Keep the screen as it is now, and let time pass; frames that nobody could see are left out."""
        rows = [_runs(self._screen.buffer[line]) for line in range(LINES)]
        if not self.frames or rows != self.frames[-1][1]:
            if self.frames and not always and self.now_s - self.frames[-1][0] < LEAST_FRAME_S:
                self.frames[-1] = (self.frames[-1][0], rows)
            else:
                self.frames.append((self.now_s, rows))
        self.now_s += passed_s


def _program(command: str) -> str:
    return " ".join(command.split(" ")[:3])


@contextlib.contextmanager
def _started(machine: Machine, command: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=machine.home,
        env={"TERM": "xterm-256color"} | machine.env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        try:
            yield process, ours
        finally:
            os.close(ours)


def _read(terminal: int) -> Iterator[tuple[float, bytes]]:
    """Yield what is written to a terminal, and how long after the beginning."""
    began_s = time.monotonic()
    with contextlib.suppress(OSError):  # That is how Linux tells that its last program has left.
        while True:
            select.select([terminal], [], [])
            data = os.read(terminal, 65536)
            if not data:
                return
            yield time.monotonic() - began_s, data


def _runs(line: dict[int, Char]) -> Row:
    """Return a line of the screen as runs of one look, without the blanks at its end."""
    cells = [line[column] for column in range(COLUMNS)]
    while cells and not cells[-1].data.strip():
        cells.pop()
    return tuple(
        ("".join(cell.data for cell in run), color, bold)
        for (color, bold), run in groupby(cells, lambda cell: (cell.fg, cell.bold))
    )


def record(folder: Path) -> Recorder:
    """Play the session in a folder with a short name, and return what the screen showed."""
    at = next(n for n, (_, command, _) in enumerate(SESSION) if "--file photos" in command)
    session = [*SESSION[:at], SLOWER, *SESSION[at:]]
    recorder = Recorder(folder, {(who, _program(what)): shown for who, what, shown in SESSION})
    play(folder, session, recorder.run)
    return recorder


def moving(recorder: Recorder) -> str:
    """Return the recording as SVG that moves by CSS: each line is there from when it was shown until it changed."""
    whole_s = recorder.now_s + AT_END_S
    times = [*(at_s for at_s, _ in recorder.frames), whole_s]
    spans: dict[tuple[float, float], str] = {}
    lines: list[str] = []
    for number in range(LINES):
        looks = [(frame[number], at) for at, (_, frame) in enumerate(recorder.frames)]
        for row, same in groupby(looks, lambda look: look[0]):
            if not row:
                continue
            places = [at for _, at in same]
            span = (times[places[0]], times[places[-1] + 1])
            name = spans.setdefault(span, f"s{len(spans)}")
            lines.append(_line(row, number, name, stays=span[1] == whole_s))
    used = max((n for _, frame in recorder.frames for n, row in enumerate(frame) if row), default=0)
    width, height = 2 * MARGIN + COLUMNS * CELL_WIDTH, 2 * MARGIN + (used + 1) * CELL_HEIGHT
    moves = "\n".join(_moves(name, *span, whole_s) for span, name in spans.items())
    return PICTURE.format(
        width=round(width), height=round(height), moves=moves, lines="\n".join(lines), whole_s=f"{whole_s:.1f}"
    )  # fmt: skip


def _line(row: Row, number: int, name: str, *, stays: bool) -> str:
    parts, column = [], 0
    for text, color, bold in row:
        if text.strip():
            look = f' fill="{COLORS.get(color, COLORS["default"])}"' if color != "default" else ""
            look += ' font-weight="bold"' if bold else ""
            x = MARGIN + column * CELL_WIDTH
            length = f' textLength="{len(text) * CELL_WIDTH:.1f}"'
            shown = html.escape(text, quote=False).replace(" ", "\u00a0")
            parts.append(f'<tspan x="{x:.1f}"{length}{look}>{shown}</tspan>')
        column += len(text)
    y = MARGIN + (number + 0.8) * CELL_HEIGHT
    last = " last" if stays else ""
    return f'<text class="{name}{last}" y="{y:.1f}">{"".join(parts)}</text>'


def _moves(name: str, begin_s: float, end_s: float, whole_s: float) -> str:
    begin, end = 100 * begin_s / whole_s, 100 * end_s / whole_s
    after = f"{end:.2f}%{{visibility:hidden}}" if end < 100 else ""
    return (
        f".{name}{{animation-name:{name}}}"
        f"@keyframes {name}{{0%{{visibility:hidden}}{begin:.2f}%{{visibility:visible}}{after}}}"
    )


PICTURE = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<!-- made by `python3 dev.py picture` from two running nodes -->
<style>
text {{ font: 14px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre; fill: #d0d0d0;
  visibility: hidden; animation: {whole_s}s step-end infinite; }}
{moves}
@media (prefers-reduced-motion: reduce) {{ text {{ animation: none !important; }} .last {{ visibility: visible; }} }}
</style>
<rect width="{width}" height="{height}" rx="8" fill="#22252a"/>
{lines}
</svg>
"""


def main() -> int:
    """Play the session and write the recording."""
    with tempfile.TemporaryDirectory(prefix="pp-") as folder:
        recorder = record(Path(folder))
    RECORDING.write_text(moving(recorder), encoding="utf-8", newline="\n")
    sys.stdout.write(f"{RECORDING}: {len(recorder.frames)} frames, {recorder.now_s:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
