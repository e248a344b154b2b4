"""What the demonstration prints: acts, the commands that a person would type, what came of them."""

from __future__ import annotations

import sys
import time

from peerpost.raw_bytes import shown

__all__ = ["Program"]


class Program:
    """Plain lines on stdout, coloured on a terminal."""

    def __init__(self) -> None:
        self._acts = 0
        self._colour = sys.stdout.isatty()

    def act(self, title: str) -> None:
        """Begin an act."""
        self._acts += 1
        self._print(f"\n{self._paint('1', f'{self._acts}. {title}')}")

    def command(self, text: str) -> None:
        """Show the command that does this by hand."""
        self._print(f"   {self._paint('36', '$ ' + text)}")

    def line(self, text: str) -> None:
        """Show a result or a remark."""
        self._print(f"     {text}")

    def done(self, text: str, started_s: float, size_bytes: int | None = None) -> None:
        """Show that something worked, how long it took and how fast that is."""
        took_s = time.monotonic() - started_s
        pace = "" if size_bytes is None else f", {self.size(int(size_bytes / took_s))}/s"
        self._print(f"   {self._paint('32', 'ok')} {text} ({took_s:.2f} s{pace})")

    def result(self, text: str, *, good: bool) -> None:
        """Show how it all ended."""
        self._print(f"\n{self._paint('1;32' if good else '1;31', text)}")

    @staticmethod
    def size(size_bytes: int) -> str:
        """Return a size in decimal units."""
        value = float(size_bytes)
        for unit in ("B", "kB", "MB", "GB"):
            if value < 1000:
                return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
            value /= 1000
        return f"{value:.1f} TB"

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    @staticmethod
    def _print(text: str) -> None:
        sys.stdout.write(shown(text) + "\n")
        sys.stdout.flush()
