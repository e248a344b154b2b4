"""The terminal. Everything that is printed is printed here, by these rules:

- stdout carries data and nothing else; notes, progress, questions and errors go to stderr.
- Whatever a peer, a file or a name could have written passes `safe` or `safe_block` on its way to a
  person, so that no text received can move the cursor, recolour, retitle or reorder the screen. Only
  what has passed is a `SafeText`, and nothing else can be printed here.
- With --json, data is one object per line in pure ASCII: exact, and harmless to a terminal.
- Colour, relative times and wrapped cells are for terminals; a pipe gets plain, whole, absolute.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from peerpost.stdio import OutputError

from .marked import OFF, ON, Marked, unmarked
from .safe import SafeText, as_json, safe, safe_block
from .table import NARROWEST, laid_out, width, wrapped

if TYPE_CHECKING:
    from .block import LongRecord

__all__ = [
    "Column",
    "Terminal",
    "width",
]

Column = tuple[str, str]
"""Heading and key of a table's column."""

_BOLD, _DIM, _RED, _CYAN, _RESET = "\x1b[1m", "\x1b[2m", "\x1b[1;31m", "\x1b[36m", "\x1b[0m"
_HIT = "\x1b[1;33m"
_LINE_END, _INDENT = SafeText("\n"), SafeText("  ")

_BLOCKS = frozenset({"body", "notes"})
"""Fields whose text may have several lines. In any other field, a line break is made visible."""
_TIMES = frozenset(
    {
        *("last_seen", "next_attempt", "received_at", "sent_at", "created"),
        *("added", "verified_at", "expires", "delivered", "acknowledged_at"),
    }
)
_RUNNING = frozenset(
    {
        *("preview", "match", "name", "contact", "last_error", "error", "why"),
        *("found", "hint", "key", "shown", "schedule"),
    }
)
"""Columns that may be long and are wrapped then; all others stay whole, above all ids."""
_SIZES = frozenset({"size", "done_bytes"})
_LEAST_ROOM = 16
"""Columns beside the labels of a sheet: below them, words would be broken into syllables."""
_SHARES = frozenset({"progress"})
_SECONDS = frozenset({"key_age", "eta_s"})
_RATES = frozenset({"rate_bytes_s"})


def _in_room(key: str, lines: Sequence[SafeText], room: int) -> list[SafeText]:
    """Return the lines of a field in so many columns. Ids, keys and paths stay whole, because people copy them.

    What a peer wrote does not: on the next line it would begin where the names of fields are.
    """
    divide = key in _RUNNING or key in _BLOCKS
    return [
        SafeText(part)
        for line in lines
        for part in wrapped(line.expandtabs(4), room, divide=divide)
    ]


class Terminal:
    """stdout and stderr under the options in force."""

    def __init__(self) -> None:
        self.json = False
        self.quiet = False
        self.color = "auto"
        for stream in (sys.stdout, sys.stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                # A terminal that is not UTF-8 shows what it lacks as \u escapes instead of failing.
                reconfigure(errors="backslashreplace")

    # Data

    def record(
        self, value: Mapping[str, Any], *, human: str | None = None, wrap: bool = False
    ) -> None:
        """Print one object: as JSON, or as the line given, or as its fields one per line.

        With `wrap`, a line that is longer than the screen goes on below, indented: nothing in it looks like the next.
        """
        try:
            if self.json:
                self._data(as_json(value))
            elif human is not None:
                self._line(safe(human), wrap=wrap)
            else:
                self._fields(value)
        except OutputError as error:
            error.line = as_json(value) if self.json else human or self._in_a_line(value)
            raise

    def records(
        self, values: Sequence[Mapping[str, Any]], columns: Sequence[Column], *, empty: str
    ) -> None:
        """Print objects: as JSON lines, or as a table of the columns that any of them has."""
        if self.json:
            for value in values:
                self._data(as_json(value))
        elif values:
            shown = [column for column in columns if any(column[1] in value for value in values)]
            self._table([self._cells(value, shown) for value in values], shown)
        else:
            self.note(empty)

    def row(self, value: Mapping[str, Any], columns: Sequence[Column]) -> None:
        """Print an object that was changed: as JSON, or as a table with one row."""
        try:
            self.records([value], columns, empty="")
        except OutputError as error:
            error.line = as_json(value)
            raise

    def text(self, text: str) -> None:
        """Print a block of text that may have been received."""
        self._data(SafeText(safe_block(text).removesuffix("\n")))

    def long_record(self, value: Mapping[str, Any], key: str) -> LongRecord:
        """Print an object with a long text as member `key`, which is then fed to the returned record in pieces."""
        from .block import LongRecord

        if not self.json:
            self._fields(value)
        record = LongRecord(self._write, as_json=self.json)
        record.begin(value, key)
        return record

    def drawing(self, text: str) -> None:
        """Print text that we made ourselves, unfiltered: a QR code, a script for a shell."""
        self._data(SafeText(text))

    # Everything else

    def note(self, message: str) -> None:
        """Say something to the person at the terminal; --quiet silences it."""
        if not self.quiet:
            self._say(as_json({"note": message}) if self.json else safe(message))

    def warn(self, message: str) -> None:
        """Say, even with --quiet, that nothing will come of the command unless somebody acts."""
        self._say(as_json({"note": message}) if self.json else safe(message))

    def event(self, value: Mapping[str, Any]) -> None:
        """Say something to a program, on stderr: with --json, beside the data."""
        self._say(as_json(value))

    def error(self, code: str, message: str, hint: str | None) -> None:
        """Say what went wrong and what may be done."""
        if self.json:
            self._say(as_json({"error": {"code": code, "message": message, "hint": hint}}))
            return
        self._say(self._style("error: ", _RED, sys.stderr), safe(message))
        if hint:
            self._say(self._style("hint:  ", _CYAN, sys.stderr), safe(hint))

    def ask(self, question: str) -> None:
        """Print a question; its answer is typed on the same line."""
        self._print(sys.stderr, safe(question))

    def leave_question(self) -> None:
        """Begin a new line after a question, and after the ^C that a terminal shows."""
        if sys.stderr.isatty() and not self.json:
            self._say()

    def stopped(self, word: str, sentence: str, hint: str | None) -> None:
        """Say what becomes of something after a signal; also with --quiet, because the exit code is not 0."""
        if self.json:
            self.error(word, sentence, hint and f"see: {hint}")
        else:
            self._say(safe(f"Interrupted. {sentence}" + (f"; see: {hint}" if hint else "")))

    def trace(self, text: str) -> None:
        """Print a traceback, for --debug."""
        self._say(as_json({"trace": text}) if self.json else safe_block(text.rstrip("\n")))

    def out_is_terminal(self) -> bool:
        """Whether stdout is read by a person."""
        return sys.stdout.isatty() and not self.json

    def moment(self, text: str) -> str:
        """Return an RFC 3339 time of a row: relative for a person, as it is in a pipe."""
        if not self.out_is_terminal():
            return text
        from .times import relative

        return relative(text)

    def bar(self, share: float, columns: int) -> str:
        """Return a bar for a person at stdout; nothing in a pipe."""
        if not self.out_is_terminal():
            return ""
        from .bar import bar

        return bar(share, columns, not (sys.stdout.encoding or "").lower().startswith("utf"))

    def deadline(self, text: str) -> str:
        """Return an RFC 3339 time that was set just now: relative for a person, absolute in a log and for a program."""
        if self.json or not sys.stderr.isatty():
            return text
        from .times import relative_to_just_now

        return relative_to_just_now(text)

    def can_ask(self) -> bool:
        """Whether somebody is there to answer a question."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def can_draw(self) -> bool:
        """Whether progress may be drawn on stderr."""
        return (
            sys.stderr.isatty()
            and not (self.quiet or self.json)
            and os.environ.get("TERM") != "dumb"
        )

    def colored(self, stream: TextIO) -> bool:
        """Whether a stream gets colour: --color, then NO_COLOR and FORCE_COLOR, then terminals."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return stream.isatty() and os.environ.get("TERM") != "dumb"

    # How

    def _data(self, *parts: SafeText) -> None:
        self._print(sys.stdout, *parts, _LINE_END)

    def _write(self, text: SafeText) -> None:
        self._print(sys.stdout, text)

    def _say(self, *parts: SafeText) -> None:
        self._print(sys.stderr, *parts, _LINE_END)

    def _print(self, stream: TextIO, *parts: SafeText) -> None:
        print(*parts, sep="", end="", file=stream, flush=True)

    def _style(self, text: str, style: str, stream: TextIO) -> SafeText:
        shown = safe(text)
        return SafeText(f"{style}{shown}{_RESET}") if self.colored(stream) else shown

    def _line(self, line: SafeText, *, wrap: bool) -> None:
        room = self._room() if wrap else None
        if room is None or width(line) <= room:
            self._data(line)
            return
        first, *more = wrapped(line, max(NARROWEST, room - len(_INDENT)))
        self._data(SafeText(first))
        for part in more:
            self._data(_INDENT, SafeText(part))

    def _fields(self, value: Mapping[str, Any]) -> None:
        names = [name.replace("_", " ") for name in value]
        column = max((len(name) for name in names), default=0)
        room = self._room()
        for name, (key, item) in zip(names, value.items(), strict=True):
            lines = self._lines(key, item)
            if room is not None:
                lines = _in_room(key, lines, max(NARROWEST, room - column - 2))
            head = self._style(name.ljust(column), _DIM, sys.stdout)
            self._data(SafeText(f"{head}  {lines[0]}".rstrip()))
            for line in lines[1:]:
                self._data(SafeText(f"{'':{column}}  "), line)

    def sheet(self, rows: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Print labels with one or more lines each, wrapped to the terminal between words.

        A single word, such as an id or an address, is never broken: somebody copies it. It gets a line of its own
        where there is no room beside the label.
        """
        column = max((len(label) for label, _ in rows), default=0) + 2
        room = self._room()
        for label, parts in rows:
            lines = [line for part in parts for line in self._sheet_lines(part, room, column)]
            head, indent = safe(label), SafeText(" " * column)
            if room is not None and any(width(line) > room - column for line in lines):
                self._data(self._style(head, _DIM, sys.stdout))
                head, indent = SafeText(""), SafeText("  ")
            for number, line in enumerate(lines):
                if number or not head:
                    self._data(indent, line)
                else:
                    gap = SafeText(" " * (column - width(head)))
                    self._data(self._style(head, _DIM, sys.stdout), gap, line)

    @staticmethod
    def _sheet_lines(part: str, room: int | None, column: int) -> list[SafeText]:
        text = safe(part)
        if room is None or " " not in text:
            return [text]
        return [SafeText(line) for line in wrapped(text, max(_LEAST_ROOM, room - column))]

    def _in_a_line(self, value: Mapping[str, Any]) -> str:
        """Return the fields of an object as a person may read them in a sentence."""
        fields = (
            f"{key.replace('_', ' ')} {', '.join(self._lines(key, item))}"
            for key, item in value.items()
        )
        return "; ".join(fields)

    def _lines(self, key: str, item: Any) -> list[SafeText]:
        if isinstance(item, list) and item:
            return [self._cell(key, part) for part in item]
        if key in _BLOCKS and isinstance(item, str) and "\n" in item:
            return [SafeText(line) for line in safe_block(item).rstrip("\n").split("\n")]
        return [self._cell(key, item)]

    def _cells(self, value: Mapping[str, Any], columns: Sequence[Column]) -> list[SafeText]:
        return [self._cell(key, value.get(key)) for _, key in columns]

    def _cell(self, key: str, item: Any) -> SafeText:
        return item.shown() if isinstance(item, Marked) else safe(self._in_words(key, item))

    def _in_words(self, key: str, item: Any) -> str:
        match item:
            case None | "" | []:
                return "-"
            case bool():
                return "yes" if item else "no"
            case int() if key in _SIZES:
                return self._size(item)
            case int() if key in _RATES and self.out_is_terminal():
                return f"{self._size(item)}/s"
            case int() | float() if key in _SHARES and self.out_is_terminal():
                return f"{item:.0%}"
            case int() | float() if key in _SECONDS and self.out_is_terminal():
                from peerpost.client.units import format_duration

                return format_duration(item)
            case str() if key in _TIMES and self.out_is_terminal():
                from .times import relative

                return relative(item)
            case dict():
                parts = [str(part) for part in item.values() if part is not None]
                return "  ".join(parts) or "-"
            case list():
                return ", ".join(map(str, item))
            case _:
                return str(item)

    def _size(self, size_bytes: int) -> str:
        if not self.out_is_terminal():
            return str(size_bytes)
        from peerpost.client.units import format_size

        return format_size(size_bytes)

    def _table(self, rows: list[list[SafeText]], columns: Sequence[Column]) -> None:
        whole = [key not in _RUNNING for _, key in columns]
        head, *body = laid_out([[head for head, _ in columns], *rows], whole, self._room())
        for line in head:
            self._data(self._style(line, _BOLD, sys.stdout))
        for lines in body:
            for line in lines:
                self._data(self._lit(line))

    def _lit(self, line: str) -> SafeText:
        """Return a line of a table with what is marked in it highlighted, where there is colour."""
        if ON not in line and OFF not in line:
            return SafeText(line)
        if not self.colored(sys.stdout):
            return SafeText(unmarked(line))
        # The end of a word that was broken is on the next line.
        end = _RESET if line.rfind(ON) > line.rfind(OFF) else ""
        return SafeText(line.replace(ON, _HIT).replace(OFF, _RESET) + end)

    def _room(self) -> int | None:
        """Columns a line of a table may take, or None for as many as it needs."""
        if not self.out_is_terminal():
            return None
        import shutil

        return shutil.get_terminal_size().columns
