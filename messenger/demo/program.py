"""What the demonstration prints: acts, the commands that a person would type, and their results; or that as JSON."""

from __future__ import annotations

import json
import sys
import time

from peerpost.errors import PeerpostError
from peerpost.raw_bytes import shown

__all__ = ["Program"]


class Program:
    """Plain lines on stdout, coloured on a terminal; or an object each."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._acts = 0
        self._json = as_json
        self._colour = sys.stdout.isatty()

    def act(self, title: str) -> None:
        """Begin an act."""
        self._acts += 1
        self._print("act", title, f"\n{self._paint('1', f'{self._acts}. {title}')}")

    def command(self, text: str) -> None:
        """Show the command that does this by hand."""
        self._print("command", text, f"   {self._paint('36', '$ ' + text)}")

    def line(self, text: str) -> None:
        """Show a result or a remark."""
        self._print("note", text, f"     {text}")

    def done(self, text: str, started_s: float, size_bytes: int | None = None) -> None:
        """Show that something worked, how long it took and how fast that is."""
        took_s = time.monotonic() - started_s
        pace = "" if size_bytes is None else f", {self.size(int(size_bytes / took_s))}/s"
        shown = f"   {self._paint('32', 'ok')} {text} ({took_s:.2f} s{pace})"
        self._print("done", text, shown, took_s=round(took_s, 3), size=size_bytes)

    def result(self, text: str) -> None:
        """Show that it all went well."""
        self._print("result", text, f"\n{self._paint('1;32', text)}", ok=True)

    def failed(self, error: PeerpostError) -> None:
        """Show how it ended: with --json as every command does, on stderr."""
        if self._json:
            about = {"code": error.code, "message": error.message, "hint": error.hint}
            print(json.dumps({"error": about}), file=sys.stderr, flush=True)  # noqa: T201
            return
        text = f"The demonstration failed: {error.message}"
        self._print("result", text, f"\n{self._paint('1;31', text)}")
        if error.hint:
            self.line(error.hint)

    def stopped(self, word: str, *, kept: bool) -> None:
        """Show that a signal has ended it, and what is left: on stderr, as every command does."""
        left = "its folder is kept" if kept else "nothing is left of it"
        text = f"{word.replace('_', ' ').capitalize()}; {left}"
        about = {"error": {"code": word, "message": text, "hint": None}}
        sys.stderr.write((json.dumps(about) if self._json else f"{text}.") + "\n")
        sys.stderr.flush()

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

    def _print(self, event: str, text: str, line: str, **more: object) -> None:
        text_out = json.dumps({"event": event, "text": text, **more}) if self._json else shown(line)
        sys.stdout.write(text_out + "\n")
        sys.stdout.flush()
