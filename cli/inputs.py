"""Input from options, files and stdin: durations, sizes, tickets, things to send."""

from __future__ import annotations

import codecs
import math
import os
import stat
import sys
from pathlib import Path
from typing import Any

import click

from peerpost.errors import BadInputError, NoInputError
from peerpost.stdio import inherited, read_up_to
from peerpost.system import OPEN

__all__ = [
    "MAX_SIZE_BYTES",
    "AcceptLimit",
    "Duration",
    "Moment",
    "Quota",
    "Size",
    "in_order",
    "is_like_ticket",
    "nearest",
    "open_input",
    "read_ticket",
]

MAX_TICKET_FILE_BYTES = 64 << 10
"""A ticket has 200 characters; a larger file than this is something else."""
MAX_SIZE_BYTES = (1 << 50) - 1
"""The largest size or rate that the node takes."""
LONGEST_NAME_CHARS = 64
"""The longest name of a contact."""


class Duration(click.ParamType[float]):
    """30s, 5min, 24h, 14d: seconds."""

    name = "duration"

    def __init__(self, least_s: float = 0.0, most_s: float = math.inf) -> None:
        self._least_s = least_s
        self._most_s = most_s

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        from peerpost.client.units import parse_duration

        if isinstance(value, int | float):
            return float(value)
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if math.isinf(self._most_s) and seconds < self._least_s:
            self.fail(f"{value!r} is too short: the least is {self._least_s:g}s", param, ctx)
        if not self._least_s <= seconds <= self._most_s:
            self.fail(f"{value!r} is not from {self._least_s:g}s to {self._most_s:g}s", param, ctx)
        return seconds


class Size(click.ParamType[int]):
    """64KiB, 100MiB, 5MB: bytes."""

    name = "size"

    def __init__(self, most_bytes: float = MAX_SIZE_BYTES) -> None:
        self._most_bytes = most_bytes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        from peerpost.client.units import parse_size

        if isinstance(value, int):
            return value
        try:
            size = parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if size > self._most_bytes:
            self.fail(f"{value!r} is too large: the most is 1024 TiB", param, ctx)
        return size


class AcceptLimit(click.ParamType[int | str]):
    """100MiB, ask, never, default: bytes, or one of the words."""

    name = "accept"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Return bytes, or the word."""
        if value in ("ask", "never", "default"):
            return str(value)
        return Size().convert(value, param, ctx)


class Quota(click.ParamType[int | str]):
    """100GiB, default: bytes, or the word."""

    name = "quota"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Return bytes, or the word."""
        return "default" if value == "default" else Size().convert(value, param, ctx)


class Moment(click.ParamType[int]):
    """2026-11-23, 2026-11-23T15:00:00Z, 2h (ago): Unix milliseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return milliseconds."""
        from .times import moment_ms

        try:
            return moment_ms(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def open_input(path: str, *, folders: bool = False) -> int:
    """Open a file for reading and return its descriptor; with `folders`, also a folder's.

    Raises NoInputError saying why not.
    """
    own = inherited(path)
    try:
        status = os.fstat(own) if own is not None else Path(path).stat()
        if stat.S_ISDIR(status.st_mode) and not folders:
            raise NoInputError(f"{path} is a folder", hint="name a file in it")
        if own is not None:
            return os.dup(own)
        return os.open(path, os.O_RDONLY | OPEN)
    except FileNotFoundError:
        raise _not_there(path) from None
    except PermissionError:
        raise NoInputError(f"{path} may not be read", hint="look at its rights: ls -l") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NoInputError(f"{path} cannot be read: {reason}") from None


def _not_there(path: str) -> NoInputError:
    where = Path(path)
    try:
        end = where.readlink()
    except (OSError, ValueError):
        return NoInputError(f"there is no file {path}", hint=nearest(path))
    return NoInputError(f"{path} is a link to {end}, and there is nothing", hint="see: ls -l")


def nearest(path: str) -> str | None:
    """Return a hint with the name in the folder that is most like this one, if any is."""
    import difflib

    wanted = Path(path)
    try:
        names = [entry.name for entry in wanted.parent.iterdir()]
    except OSError:
        return f"there is no folder {wanted.parent}"
    # Exclude the name itself: it may be there, for example as a dangling link.
    near = difflib.get_close_matches(wanted.name, set(names) - {wanted.name}, n=1)
    return f"did you mean {wanted.with_name(near[0])}?" if near else None


def is_like_ticket(text: str) -> bool:
    """Return whether a text contains a ticket and cannot be a name, because it is too long for one."""
    return len(text) > LONGEST_NAME_CHARS and "PP1" in text.upper()


def in_order(name: str, ticket: str | None) -> tuple[str, str | None]:
    """Return the name and the ticket in this order, even if they were given the other way round."""
    swapped = ticket is not None and not is_like_ticket(ticket) and ticket != "-"
    return (
        (ticket, name)
        if ticket and swapped and (is_like_ticket(name) or name == "-")
        else (name, ticket)
    )


def read_ticket(ticket: str | None, path: str | None) -> str:
    """Return a ticket with any text around it (the node finds it there): from the argument, stdin ("-") or a file.

    Raises NoInputError and BadInputError.
    """
    if ticket is not None and ticket != "-":
        return ticket.strip()
    if path is None:
        data = sys.stdin.buffer.read(MAX_TICKET_FILE_BYTES + 1)
    else:
        fd = open_input(path)
        try:
            data = read_up_to(fd, MAX_TICKET_FILE_BYTES + 1)
        finally:
            os.close(fd)
    text = _decoded(data).strip("\ufeff \t\r\n")
    if not text or len(data) > MAX_TICKET_FILE_BYTES:
        raise BadInputError(
            f"there is no ticket in {path or 'stdin'}", hint="a ticket begins with PP1"
        )
    return text


def _decoded(data: bytes) -> str:
    """Decode text as editors and shells write it: UTF-8, or UTF-16 with a byte order mark; other bytes are replaced."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8", "replace")
