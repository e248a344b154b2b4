"""One contact as a page for a person: first whether and how it can be reached, and whether it is who it seems to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from peerpost.client.units import format_size

if TYPE_CHECKING:
    from .terminal import Terminal

__all__ = ["show"]

_BAR_COLUMNS = 20
_GROUPS_A_LINE = 4
Row = tuple[str, list[str]]


def show(terminal: Terminal, contact: Mapping[str, Any]) -> None:
    """Print the page. What the contact or the user has written is made safe by the terminal."""
    rows = [(label, [part for part in parts if part]) for label, parts in _rows(terminal, contact)]
    terminal.sheet([(label, parts) for label, parts in rows if parts])


def _rows(terminal: Terminal, contact: Mapping[str, Any]) -> Iterator[Row]:
    moment = terminal.moment
    yield from _who(terminal, contact)
    yield "note", str(contact.get("notes") or "").split("\n")
    yield "tags", [", ".join(contact.get("tags") or [])]
    yield "safety number", _number(terminal, contact.get("safety_number") or "")
    if contact.get("safety_number") and not contact.get("verified"):
        verify = f"peerpost contacts verify {contact['name']} NUMBER"
        yield "", [f"Not compared yet: have them read theirs to you, then: {verify}"]
    yield "keys", [_key(terminal, key) for key in contact.get("keys") or []]
    yield from _way(contact)
    yield "queued", [_queued(contact)]
    yield "unread", [str(contact.get("unread") or "")]
    if contact.get("sent") is not None:
        yield "messages", [f"{contact['sent']} sent, {contact['received']} received"]
    yield "room here", [_room(terminal, contact)]
    yield "accepted", [_accepted(contact)]
    yield "limits", [_limits(contact.get("limits"))]
    for key, what in (("restored", "put back to an older state"), ("copied", "found twice")):
        if contact.get(key):
            whose = "your home" if contact.get(f"{key}_side") == "ours" else "its home"
            yield key, [f"{whose} was {what}, {moment(contact[key])}"]
    if contact.get("went_back"):
        yield "went back", [f"it showed older keys than before, {moment(contact['went_back'])}"]
    yield "added", [moment(contact["added"]) if contact.get("added") else ""]
    yield "id", [contact.get("id") or ""]
    yield "peer id", [contact.get("peer_id") or ""]


def _who(terminal: Terminal, contact: Mapping[str, Any]) -> Iterator[Row]:
    verified = contact.get("verified_at")
    trust = f"verified {terminal.moment(verified)}" if verified else "unverified"
    yield "name", [f"{contact['name']}  ({trust})"]
    seen = contact.get("last_seen")
    last = f"last seen {terminal.moment(seen)}" if seen else "never seen yet"
    yield "reachable", ["online now" if contact.get("online") else f"not now; {last}"]
    yield "state", [contact.get("state") or ""]
    yield "to do", [contact.get("hint") or ""]
    if contact.get("last_error"):
        at = contact.get("last_error_at")
        when = f" ({terminal.moment(at)})" if at else ""
        yield "last failure", [f"{contact['last_error']}{when}"]


def _number(terminal: Terminal, number: str) -> list[str]:
    """Return the safety number in lines that are easy to read aloud; in a pipe it is one."""
    if not terminal.out_is_terminal():
        return [number]
    groups = number.split()
    return [
        " ".join(groups[at : at + _GROUPS_A_LINE]) for at in range(0, len(groups), _GROUPS_A_LINE)
    ]


def _key(terminal: Terminal, key: Mapping[str, Any]) -> str:
    since = f"since {terminal.moment(key['since'])}" if key.get("since") else ""
    return f"{key['use']:<10}  {key['type']:<7}  {since}".rstrip()


def _way(contact: Mapping[str, Any]) -> Iterator[Row]:
    if contact.get("path"):
        rtt = contact.get("rtt_ms")
        trip = "" if rtt is None else f", round trip {rtt} ms"
        yield "path", [contact["path"], f"{contact.get('transport')}{trip}"]
    yield "addresses", list(contact.get("addresses") or [])


def _queued(contact: Mapping[str, Any]) -> str:
    count, size = contact.get("queued") or 0, contact.get("queued_bytes")
    if not count:
        return "nothing"
    several = "message" if count == 1 else "messages"
    return f"{count} {several}" + (f", {format_size(size)}" if size else "")


def _room(terminal: Terminal, contact: Mapping[str, Any]) -> str:
    used, quota = contact.get("used"), (contact.get("in_force") or {}).get("quota")
    if used is None or quota is None:
        return ""
    share = used / quota if quota else 1.0
    figures = f"{format_size(used)} of {format_size(quota)} ({share:.0%})"
    bar = terminal.bar(share, _BAR_COLUMNS)
    return f"{bar}  {figures}" if bar else figures


def _accepted(contact: Mapping[str, Any]) -> str:
    match (contact.get("in_force") or {}).get("accept"):
        case None:
            return ""
        case "ask":
            return "asks about each file"
        case "never":
            return "no files"
        case size:
            return f"files up to {format_size(int(size))} without asking"


def _limits(limits: Mapping[str, Any] | None) -> str:
    limits = limits or {}
    said = [
        f"{word} {format_size(limits[key])}/s"
        for key, word in (("up_bytes_s", "up"), ("down_bytes_s", "down"))
        if limits.get(key) is not None
    ]
    if limits.get("messages_s") is not None:
        said.append(f"{limits['messages_s']} messages/s")
    return ", ".join(said) or "none of its own"
