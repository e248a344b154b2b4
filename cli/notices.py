"""Notifications as programs for alerts write them: JSON with a title, a body and a type, as Apprise has it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from peerpost.errors import BadInputError

from .sending import MAX_TEXT_BYTES

__all__ = ["MAX_INPUT_BYTES", "TYPES", "Notice", "parse"]

TYPES = ("info", "success", "warning", "failure")
MAX_INPUT_BYTES = 512 << 10
MAX_NOTICES = 1000
"""More at once are most likely a log."""
_EXPECTED = (
    'expected is {"title": TEXT, "body": TEXT, "type": "info", "success", "warning" or "failure"},'
    " with a title or a body; one object, or one on each line; nothing was sent"
)
_BODIES = ("body", "message")
_SILENT = frozenset({"title", "type", "version", "format", *_BODIES})
"""Members that lose nothing: all that is in them is sent, or is about the form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notification."""

    title: str = ""
    body: str = ""
    type: str = "info"
    left_out: tuple[str, ...] = ()
    """Members that cannot be sent."""

    def text(self) -> str:
        """Return it as the text of one message. Raises BadInputError if it is empty, too long or no text."""
        title, body = " ".join(self.title.split()), self.body.rstrip()
        text = "\n".join(part for part in (title, body) if part)
        if not text.strip():
            raise _bad("it has neither a title nor a body")
        if self.type != "info":
            text = f"[{self.type}] {text}"
        try:
            size_bytes = len(text.encode())
        except UnicodeEncodeError:
            raise _bad("its text is not valid Unicode") from None
        if size_bytes > MAX_TEXT_BYTES:
            raise BadInputError(
                f"it is longer than {MAX_TEXT_BYTES >> 10} KiB",
                hint="send what is long as a file: peerpost send; nothing was sent",
            )
        return text


def parse(data: bytes) -> list[Notice]:
    """Return the notifications in JSON: one object, or several one after the other. Raises BadInputError."""
    if len(data) > MAX_INPUT_BYTES:
        raise BadInputError(
            f"more than {MAX_INPUT_BYTES >> 10} KiB of notifications",
            hint="send what is long as a file: peerpost send; nothing was sent",
        )
    try:
        rest = data.decode("utf-8-sig").lstrip()
    except UnicodeDecodeError:
        raise _bad("it is not UTF-8") from None
    decoder = json.JSONDecoder(object_pairs_hook=_members)
    found: list[Notice] = []
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except json.JSONDecodeError as error:
            raise _bad(f"{_which(found)} is no JSON: {error.msg}") from None
        except (ValueError, RecursionError):
            raise _bad(f"{_which(found)} is no JSON that anybody writes") from None
        found.append(_notice(value, _which(found)))
        if len(found) > MAX_NOTICES:
            raise _bad(f"there are more than {MAX_NOTICES} at once")
        rest = rest[end:].lstrip()
    if not found:
        raise _bad("it is empty")
    return found


def _which(before: list[Notice]) -> str:
    return f"notification {len(before) + 1}" if before else "it"


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _bad("a member stands in it twice")
    return members


def _notice(value: Any, which: str) -> Notice:
    if not isinstance(value, dict):
        raise _bad(f"{which} is no object")
    told = {key: one for key, one in value.items() if one is not None}
    for key in ("title", "type", *_BODIES):
        if not isinstance(told.get(key, ""), str):
            raise _bad(f"{which}: {key!r} is no text")
    if all(told.get(key) for key in _BODIES):
        raise _bad(f"{which} has both 'body' and 'message'")
    type_ = told.get("type", "info").strip().lower() or "info"
    if type_ not in TYPES:
        raise _bad(f"{which}: 'type' is none of {', '.join(TYPES)}")
    return Notice(
        title=told.get("title", ""),
        body=told.get("body") or told.get("message") or "",
        type=type_,
        left_out=tuple(key for key, one in told.items() if key not in _SILENT and one),
    )


def _bad(what: str) -> BadInputError:
    return BadInputError(f"no notification: {what}", hint=_EXPECTED)
