"""A ticket in what was pasted: out of a mail, a chat or a document, with all that these put around and into it."""

from __future__ import annotations

import re
import unicodedata

from peerpost.errors import BadInputError
from peerpost.wire.limits import MAX_TICKET_CHARS
from peerpost.wire.ticket import TICKET_PREFIX, Ticket

__all__ = ["find_ticket"]

_QUOTED = re.compile(r"^[ \t]*(?:[>|][ \t]*)+", re.MULTILINE)
"""What mail programs put before the lines of somebody else."""
_SOFT_BREAK = re.compile(r"=[ \t]*\r?\n")
"""The end of a line that goes on, in a mail that was copied as it travels (quoted-printable)."""
_BEGIN = re.compile("PP1", re.IGNORECASE)
"""No ticket has this again further on: base32 knows no 1."""
_PIECE = re.compile(r"[^A-Za-z0-9]*([A-Za-z2-7]+)")
_MOST_TRIES = 256
"""Beginnings looked at: more than anybody pastes."""


def find_ticket(text: str) -> str:
    """Return the one ticket that is in a text. Raises BadInputError where there is more than one.

    Where there is none, return what looks most like one: to decode it says what is wrong with it.
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
    """Return a text without what nobody sees, and without the marks of a quotation."""
    visible = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return _QUOTED.sub("", _SOFT_BREAK.sub("", visible))


def _ticket_at(text: str, at: int) -> str | None:
    """Return the ticket that begins there, whatever follows it: its checksum tells where it ends."""
    ticket, at = TICKET_PREFIX, at + len(TICKET_PREFIX)
    # A line or a mark may break it anywhere, and the text that follows looks like more of it.
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
