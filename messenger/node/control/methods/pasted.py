"""Finds a ticket in pasted text, with everything that mails, chats and documents put around it and into it."""

from __future__ import annotations

import re
import unicodedata

from peerpost.errors import BadInputError
from peerpost.wire.limits import MAX_TICKET_CHARS
from peerpost.wire.ticket import TICKET_PREFIX, Ticket

__all__ = ["find_ticket"]

_QUOTED = re.compile(r"^[ \t]*(?:[>|][ \t]*)+", re.MULTILINE)
"""What mail programs put before quoted lines."""
_SOFT_BREAK = re.compile(r"=[ \t]*\r?\n")
"""A line break inside a line, in the source text of a mail (quoted-printable)."""
_BEGIN = re.compile("PP1", re.IGNORECASE)
"""The beginning of a ticket. It cannot occur again inside one, because base32 has no 1."""
_PIECE = re.compile(r"[^A-Za-z0-9]*([A-Za-z2-7]+)")
_MOST_TRIES = 256
"""How many beginnings are tried: more than anybody pastes."""


def find_ticket(text: str) -> str:
    """Return the one ticket that is in a text. Raises BadInputError if there is more than one.

    If there is none, return what looks most like one: decoding it will say what is wrong with it.
    """
    plain = _plain(text)
    begins = [found.start() for found in _BEGIN.finditer(plain)][:_MOST_TRIES]
    found = {ticket for at in begins if (ticket := _ticket_at(plain, at)) is not None}
    if len(found) > 1:
        raise BadInputError(
            f"there are {len(found)} tickets in what was given", hint="give one of them"
        )
    if found:
        return found.pop()
    return plain[begins[0] if begins else 0 :].strip()


def _plain(text: str) -> str:
    """Return a text without invisible characters and quotation marks of mail programs."""
    visible = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return _QUOTED.sub("", _SOFT_BREAK.sub("", visible))


def _ticket_at(text: str, at: int) -> str | None:
    """Return the ticket that begins there, whatever follows it. Its checksum tells where it ends."""
    ticket, at = TICKET_PREFIX, at + len(TICKET_PREFIX)
    # Line breaks or marks may split it anywhere, and the text that follows may look like more of it.
    while (piece := _PIECE.match(text, at)) is not None:
        ticket, at = ticket + piece[1].upper(), piece.end()
        if len(ticket) > MAX_TICKET_CHARS:
            return None
        try:
            Ticket.decode(ticket)
        except BadInputError:
            continue
        return ticket
    return None
