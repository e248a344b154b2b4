"""How it is said. Every text of a peer, and every name, goes through `safe` before it reaches a screen or a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peerpost.client.units import format_size

from ..progress import in_words
from ..safe import safe, safe_block
from ..times import relative
from .conversation import Unqueued
from .rows import WAITING, ChatContact, ChatFile, ChatMessage

__all__ = [
    "Shown",
    "clock_time",
    "contact_about",
    "contact_details",
    "contact_mark",
    "day",
    "hit",
    "identity_details",
    "in_lines",
    "message",
    "outgoing_state",
    "transfer",
    "unqueued",
]

MOST_LINES, MOST_CHARS = 24, 2000
"""How much of a text is shown in its conversation."""
_TAB = "    "
_NAME_CHARS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A message as it is shown: who and when, its lines, and a line about what became of it. All of it is harmless."""

    who: str
    time: str
    lines: list[str]
    state: str = ""
    is_bad: bool = False
    """Whether somebody should look at it: it failed, or asks for something."""
    is_file: bool = False
    more: str = ""
    """What is not shown here, and how to see it."""


def clock_time(at: str) -> str:
    """Return the time of day of an RFC 3339 time, where this machine is."""
    moment = _local(at)
    return "" if moment is None else moment.strftime("%H:%M")


def day(at: str) -> str:
    """Return the day of an RFC 3339 time, where this machine is."""
    moment = _local(at)
    return "" if moment is None else moment.strftime("%a %d %b %Y")


def _local(at: str) -> datetime | None:
    try:
        return datetime.fromisoformat(at).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def message(one: ChatMessage, contact: str, *, moving: ChatFile | None = None) -> Shown:
    """Return a message as it is shown; `moving` is how far its file is, if it is under way."""
    lines, more = _body(one)
    state, is_bad = "", False
    if not one.incoming:
        state, is_bad = outgoing_state(one, moving)
    elif one.why:
        state, is_bad = f"cannot be read: {safe(one.why)}", True
    elif one.gap:
        state = "something that was sent before it is not here"
    return Shown(
        who=safe(contact) if one.incoming else "you",
        time=clock_time(one.at),
        lines=lines,
        state=state,
        is_bad=is_bad,
        is_file=one.kind != "text",
        more=more,
    )


def _body(one: ChatMessage) -> tuple[list[str], str]:
    if one.kind == "unknown":
        return ["(of a kind that a later version of Peerpost can show)"], ""
    if one.kind != "text":
        size = "" if one.size is None else f", {format_size(one.size)}"
        if one.files is not None:
            files = "1 file" if one.files == 1 else f"{one.files} files"
            return [f"folder: {_name(one.name)} ({files}{size})"], ""
        return [f"file: {_name(one.name)}{size.replace(', ', ' (', 1)}{')' if size else ''}"], ""
    if not one.text and one.state == "cancelled":
        return ["(taken back)"], ""
    lines = in_lines(one.text[:MOST_CHARS].rstrip("\n"))
    is_cut = one.is_cut or len(one.text) > MOST_CHARS or len(lines) > MOST_LINES
    if not is_cut:
        return lines, ""
    size = "" if one.size is None else f" of {format_size(one.size)}"
    return lines[:MOST_LINES], f"(the beginning{size}; /read {one.id} shows more)"


def in_lines(text: str) -> list[str]:
    """Return a text as lines that are harmless."""
    return safe_block(text).replace("\t", _TAB).split("\n")


def _name(name: str) -> str:
    shown = safe(name)
    return shown if len(shown) <= _NAME_CHARS else f"{shown[:40]}…{shown[-19:]}"


def outgoing_state(one: ChatMessage, moving: ChatFile | None = None) -> tuple[str, bool]:
    """Return what became of what was sent, and whether somebody should look at it."""
    why = safe(one.why)
    if one.state in WAITING:
        if moving is not None:
            return safe(in_words(moving.row)), moving.state in ("asking", "paused")
        return (f"{one.state}: {why}" if why else one.state), why.startswith("asking:")
    if one.state in ("delivered", "cancelled"):
        return one.state, False
    return (f"{one.state}: {why}" if why else one.state), True


def unqueued(one: Unqueued) -> Shown:
    """Return what is not on the disk yet."""
    state = "queued" if one.id else "sending..."
    if one.why:
        state = f"not sent: {safe(one.why)}; /again sends it, /drop forgets it"
    lines = [f"file: {safe(one.path)}"] if one.path else in_lines(one.text)
    return Shown(who="you", time="", lines=lines[:MOST_LINES], state=state, is_bad=bool(one.why))


def transfer(one: ChatFile) -> Shown:
    """Return an incoming file that is no message yet."""
    row: Mapping[str, Any] = one.row
    size = row.get("size")
    shown_size = "" if size is None else f" ({format_size(size)})"
    state: str = safe(in_words(row))
    if one.state == "asking":
        state = f"asks to be accepted: /accept {one.id} or /reject {one.id}"
    elif not one.is_open:
        state = safe(f"{one.state}: {row.get('error') or 'no reason given'}")
    return Shown(
        who=safe(one.contact),
        time=clock_time(str(row.get("created") or "")),
        lines=[f"file coming in: {_name(one.name)}{shown_size}"],
        state=state,
        is_bad=one.state == "asking" or not one.is_open,
        is_file=True,
    )


def contact_about(one: ChatContact, now: datetime) -> str:
    """Return how it stands with a contact, in a line."""
    match one.state:
        case "active":
            seen = "never seen yet" if one.last_seen is None else f"last seen {_ago(one, now)}"
            about = "online" if one.online else seen
        case "pending":
            about = "not met yet: what you send is queued"
        case _:
            about = safe(one.hint or one.state)
    return about if one.verified else f"{about}; unverified"


def _ago(one: ChatContact, now: datetime) -> str:
    return relative(str(one.last_seen), now)


def contact_mark(one: ChatContact) -> str:
    """Return a sign for a list: `*` online, `!` needs somebody, `-` not met yet, blank away."""
    if one.state == "pending":
        return "-"
    if one.state != "active":
        return "!"
    return "*" if one.online else " "


def hit(row: Mapping[str, Any]) -> str:
    """Return what a search has found, in a line."""
    sent = row.get("direction") == "out"
    at = str(row.get("received_at") or row.get("created") or "")
    where = "to" if sent else "from"
    when = f"{day(at)} {clock_time(at)}"
    return f"{when}  {where} {safe(str(row['contact']))}: {safe(str(row.get('match') or ''))}"


_OF_CONTACT = (
    *("name", "id", "state", "hint", "verified", "verified_at", "safety_number", "notes", "tags"),
    *("online", "last_seen", "added", "path", "transport", "rtt_ms", "sent", "received"),
    *("used", "quota", "accept", "last_error"),
)
_OF_ME = ("name", "id", "peer_id", "fingerprint", "protected", "created", "announced", "keys")


def contact_details(row: Mapping[str, Any]) -> str:
    """Return what there is to know of a contact, above all the safety number, as lines."""
    about = _fields(row, _OF_CONTACT)
    name = row["name"]
    if row.get("verified"):
        return about
    return (
        f"{about}\n\nNot verified: compare the safety number by voice with the one that {name} sees for you,"
        f" and mark it with: peerpost contacts verify {name} NUMBER"
    )


def identity_details(row: Mapping[str, Any]) -> str:
    """Return what others may want to know of this home's identity, as lines."""
    return _fields(row, _OF_ME)


def _fields(row: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    found = ((key, row.get(key)) for key in keys)
    given = [(key, value) for key, value in found if value is not None and value not in ("", [])]
    return "\n".join(f"{key.replace('_', ' '):<15}{_field(value)}" for key, value in given)


def _field(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return ("\n" + " " * 15).join(map(_field, value))
        case dict():
            return "  ".join(_field(part) for part in value.values() if part is not None)
        case _:
            return str(value)
