"""`peerpost contacts invite|invites`: tickets that are given out, listed and taken back."""

from __future__ import annotations

import shlex
import shutil
import sys
from typing import Any

import click

from ..app import App, Command, pass_app
from ..completing import complete_ids
from ..inputs import Duration
from ..safe import safe
from ..terminal import Terminal, width

__all__ = ["invite", "invites"]

_COLUMNS = (
    ("ID", "id"),
    ("NAME", "name"),
    ("STATE", "state"),
    ("WHY", "why"),
    ("RENEWS", "renews"),
    ("EXPIRES", "expires"),
)
_QUIET_ZONE = 4
"""Light modules around a QR code: with fewer some readers do not find it."""
_PROMPT_LINES = 1
"""Lines that the prompt of the shell takes when everything is printed."""


@click.command(
    cls=Command,
    examples="""
    peerpost contacts invite bob
    peerpost contacts invite bob --expires 7d > ticket.txt
    peerpost --json contacts invite bob | jq -r .ticket
    """,
)
@click.argument("name")
@click.option(
    "--expires", type=Duration(), default="24h", show_default=True, help="How long it can be used."
)
@click.option("--no-qr", is_flag=True, help="Do not draw the QR code.")
@pass_app
def invite(app: App, name: str, expires: float, no_qr: bool) -> None:
    """Make a ticket for NAME, who joins you by adding it.

    A ticket works once and for one person: send it to NAME over something you both trust. For a
    contact that you have it renews the friendship, and admits nobody else.
    """
    made = app.call("contacts.invite", {"name": name, "expires_s": int(expires)})
    terminal = app.terminal
    person = terminal.out_is_terminal()
    # A person at a terminal copies a line that can be run; into a file or pipe goes the ticket alone.
    line = _to_run(made) if person else made["ticket"]
    notes = _notes(name, made, terminal, pasted=person)
    if person and not no_qr:
        notes += _draw(app, made["ticket"], [line, *notes])
    terminal.record(made, human=line)
    for note in notes:
        terminal.note(note)


def _to_run(made: dict[str, Any], ticket: str | None = None) -> str:
    """Return the command for the person who gets the ticket, with our own name as a suggestion for theirs."""
    name = shlex.quote(made.get("inviter") or "YOURNAME")
    return f"peerpost contacts add {name} {ticket or made['ticket']}"


def _notes(name: str, made: dict[str, Any], terminal: Terminal, *, pasted: bool) -> list[str]:
    """Return notes about a ticket; `pasted` if the whole command was printed above them."""
    notes = []
    if made.get("renews"):
        notes.append(
            f"{name} is a contact already: this renews it, with what is queued and was sent."
        )
    notes += [
        f"There is another open ticket for {name}. Whoever comes first is {name}, the other is turned away;"
        f" to take it back: peerpost contacts invites --withdraw {other}"
        for other in made.get("others", ())
    ]
    until = terminal.deadline(made["expires"])
    ends = f"until {until}" if until == made["expires"] else f"and expires {until}"
    how = f"Give this line to {name}." if pasted else f"{name} runs: {_to_run(made, 'TICKET')}"
    notes.append(f"{how} It works once, {ends}.")
    notes.append("Your node answers until then; `peerpost node start` keeps it after that.")
    return notes


def _draw(app: App, ticket: str, after: list[str]) -> list[str]:
    """Draw the ticket as a QR code if it fits on the screen above `after`; otherwise return why not.

    It is drawn in half blocks; where the encoding has none, in blanks of two colours, which take twice the room. A
    code that is cut off, wrapped, or without the margin that readers look for is of no use.
    """
    import io

    import segno

    code = segno.make(ticket, error="l", micro=False, boost_error=False)
    columns, height = code.symbol_size(border=_QUIET_ZONE)
    compact = _has_blocks(sys.stdout.encoding)
    if not compact and not app.terminal.colored(sys.stdout):
        return [f"No QR code: {sys.stdout.encoding} has no blocks, and there is no colour here."]
    columns, rows = (columns, (height + 1) // 2) if compact else (2 * columns, height)
    room = shutil.get_terminal_size((0, 0))  # Zeros if not known.
    told = after[: None if sys.stderr.isatty() and not app.terminal.quiet else 1]
    below = sum(-(-width(safe(text)) // room.columns) for text in told) if room.columns else 0
    lines = rows + below + _PROMPT_LINES
    if (room.columns and columns > room.columns) or (room.lines and lines > room.lines):
        return [
            f"No QR code: it takes {columns} columns and {lines} lines; here are {room.columns} and {room.lines}."
        ]
    out = io.StringIO()
    code.terminal(out, compact=compact, border=_QUIET_ZONE)
    app.terminal.drawing(out.getvalue().removesuffix("\n"))
    return []


def _has_blocks(encoding: str) -> bool:
    try:
        "\u2580\u2584\u2588".encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@click.command(
    cls=Command,
    examples="""
    peerpost contacts invites
    peerpost contacts invites --withdraw 3f9a
    """,
)
@click.option(
    "--withdraw",
    "id_",
    metavar="ID",
    shell_complete=complete_ids("contacts.invites"),
    help="Take a ticket back, by its id.",
)
@pass_app
def invites(app: App, id_: str | None) -> None:
    """List the tickets that you gave out, or take one back.

    Listed are those that may still be used, and those that ended without a new contact.
    """
    if id_ is not None:
        gone: dict[str, Any] = app.call("contacts.withdraw", {"id": id_})
        app.terminal.record(gone, human=f"{gone['id']}  {gone['name']}  withdrawn")
        return
    app.terminal.records(app.call("contacts.invites"), _COLUMNS, empty="No invitation is open.")
