"""Logging of the node: one handler on the root, text or one JSON object per line, on stderr, whatever file that is.

Bodies, keys and passphrases are never logged; contacts by their local name or id. The log that lies in a home with a
passphrase names nobody: there a line is its template, its numbers and its reasons, without the words (`keep_discreet`).
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from types import TracebackType

from peerpost.client.logfile import NAMES_CONTACTS, LogFile
from peerpost.raw_bytes import encodable, shown

from . import log_levels, machine_trace
from .clock import rfc3339

__all__ = ["LINES_PER_MIN", "Bounded", "Reason", "is_discreet", "keep_discreet", "setup"]

LINES_PER_MIN = 30
"""Lines with the same cause, that is with the same logger and template."""
MOST_CAUSES = 1024
_ALONE = re.compile("([\ud800-\udfff]+)")
"""Bytes that are no UTF-8, as a path has them."""


class Reason(str):
    """Words of this program's own, which name nobody: they stay in a discreet log."""

    __slots__ = ()


class _JsonFormatter(logging.Formatter):
    """One object per line: ts, level, target, msg, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "ts": rfc3339(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "target": record.name.replace(".", "::"),
            "msg": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        # In ASCII, because somebody may read it on a terminal.
        return json.dumps(encodable(entry))


class _TextFormatter(logging.Formatter):
    """Time, level, target and message, in ASCII: all else in the message, or in a traceback, is escaped."""

    def format(self, record: logging.LogRecord) -> str:
        when = rfc3339(int(record.created * 1000))
        line = f"{when} {record.levelname:<7} {record.name}: {_escaped(record.getMessage())}"
        if not record.exc_info:
            return line
        trace = self.formatException(record.exc_info).split("\n")
        return "\n".join([line, *map(_escaped, trace)])


def _escaped(text: str) -> str:
    return "".join(
        shown(part) if _ALONE.match(part) else part.encode("unicode_escape").decode("ascii")
        for part in _ALONE.split(text)
    )


class Bounded(logging.Filter):
    """Let through a number of lines of one cause a minute, and count the rest: strangers can cause log lines too."""

    def __init__(self) -> None:
        super().__init__()
        self._causes: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written; the first one of the next minute says how many were not."""
        if record.name == machine_trace.LOGGER:
            return True  # Somebody who debugs has asked for all of them.
        cause = (record.name, str(record.msg))
        began_s, count = self._causes.get(cause, (record.created, 0))
        if not 0 <= record.created - began_s < 60:
            if count > LINES_PER_MIN:
                # Not yet put together, because a discreet log leaves words out.
                given = record.args if isinstance(record.args, tuple) else ()
                template = str(record.msg) if given else record.getMessage().replace("%", "%%")
                record.msg = f"{template} ... and %d more like it before"
                record.args = (*given, count - LINES_PER_MIN)
            began_s, count = record.created, 0
        if len(self._causes) >= MOST_CAUSES:
            self._causes.clear()
        self._causes[cause] = (began_s, count + 1)
        return count < LINES_PER_MIN


class _FileHandler(logging.Handler):
    """Writes lines into the log of a node in the background."""

    discreet = False
    """Whether words are left out."""

    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self._file = file

    def keep_discreet(self, *, discreet: bool) -> None:
        """Leave words out from now on, or do not, and say in each file that has them that it does."""
        self.discreet = discreet
        if discreet:
            self._file.first_line = None
        elif self._file.first_line is None:
            said = {"name": __name__, "levelname": "INFO", "msg": NAMES_CONTACTS}
            self._file.first_line = self.format(logging.makeLogRecord(said))
            self._file.write(self._file.first_line)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; whatever goes wrong with the log, the caller must not notice."""
        try:
            self._file.write(self.format(_without_words(record) if self.discreet else record))
        except Exception:  # noqa: BLE001
            self.handleError(record)


def _log_unexpected(
    class_: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if error is not None and class_ is not SystemExit:
        logging.getLogger(__name__).critical("unexpected", exc_info=(class_, error, trace))


def _without_words(record: logging.LogRecord) -> logging.LogRecord:
    """Return a record that tells what happened and not with whom: words may be names, addresses, ids or paths."""
    found = logging.makeLogRecord(record.__dict__)
    if isinstance(record.args, tuple):
        found.args = tuple(_number_or_dots(value) for value in record.args)
    elif record.args:
        found.args = {key: _number_or_dots(value) for key, value in record.args.items()}
    if record.exc_info:
        # A traceback ends in the message of the error.
        class_ = record.exc_info[0]
        name = "" if class_ is None else f" ({class_.__name__})"
        found.msg, found.exc_info, found.exc_text = f"{found.msg}{name}", None, None
    return found


def _number_or_dots(value: object) -> object:
    return value if isinstance(value, (int, float, Reason)) or value is None else "..."


def keep_discreet(*, discreet: bool) -> None:
    """Leave words out of the log of a node in the background from now on, or do not."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _FileHandler):
            handler.keep_discreet(discreet=discreet)


def is_discreet() -> bool:
    """Return whether words are left out of what this process logs."""
    handlers = logging.getLogger().handlers
    return any(isinstance(one, _FileHandler) and one.discreet for one in handlers)


def setup(level: str, format_: str, file: LogFile | None = None) -> None:
    """Send messages to stderr as `text` or `json`, those of at least `level` until others are chosen (`log_levels`).

    `file` is given if stderr is a log that must be rotated.
    """
    handler = logging.StreamHandler(sys.stderr) if file is None else _FileHandler(file)
    handler.addFilter(Bounded())
    handler.setFormatter(_JsonFormatter() if format_ == "json" else _TextFormatter())
    # Python prints warnings and tracebacks as plain text. They are logged instead, so that each line is an object.
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_unexpected
    threading.excepthook = lambda failure: _log_unexpected(*failure[:3])
    root = logging.getLogger()
    root.handlers[:] = [handler]
    log_levels.apply(level)
    for kind in machine_trace.unknown():
        logging.getLogger(__name__).warning(
            "%s=%s: there is no such trace; known: machine", machine_trace.VARIABLE, kind
        )
