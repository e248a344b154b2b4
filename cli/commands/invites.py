"""`peerpost contacts invite|invites`: tickets that are given out, listed and taken back."""

from __future__ import annotations

import shutil
from typing import Any

import click

from ..app import App, Command, pass_app
from ..completing import complete_ids
from ..inputs import Duration

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
    if terminal.out_is_terminal() and not no_qr:
        _draw(app, made["ticket"])
    terminal.record(made, human=made["ticket"])
    if made.get("renews"):
        terminal.note(
            f"{name} is a contact already: this renews it, with what is queued and was sent."
        )
    for other in made.get("others", ()):
        terminal.note(
            f"There is another open ticket for {name}. Whoever comes first is {name}, the other is turned away;"
            f" to take it back: peerpost contacts invites --withdraw {other}"
        )
    terminal.note(f"Give it to {name}, who runs: peerpost contacts add YOURNAME TICKET")
    terminal.note(f"It works once, until {made['expires']}.")


def _draw(app: App, ticket: str) -> None:
    """Draw the ticket as a QR code in half blocks, or say why not: one that is cut off or wrapped is of no use."""
    import io

    import segno

    code = segno.make(ticket, error="l", micro=False, boost_error=False)
    columns, height = code.symbol_size(border=_QUIET_ZONE)
    # What scrolls away of the quiet zone above is no loss.
    lines = (height - 2 * _QUIET_ZONE + 1) // 2
    room = shutil.get_terminal_size((0, 0))  # Zeros where nobody knows.
    if (room.columns and columns > room.columns) or (room.lines and lines > room.lines):
        app.terminal.note(
            f"No QR code: it takes {columns} columns and {lines} lines, and this terminal has"
            f" {room.columns} and {room.lines}. Make it larger, or its letters smaller."
        )
        return
    out = io.StringIO()
    code.terminal(out, compact=True, border=_QUIET_ZONE)
    app.terminal.drawing(out.getvalue().removesuffix("\n"))


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
    """List the tickets that may still be used, and those that came to something else; or take one back."""
    if id_ is not None:
        gone: dict[str, Any] = app.call("contacts.withdraw", {"id": id_})
        app.terminal.record(gone, human=f"{gone['id']}  {gone['name']}  withdrawn")
        return
    app.terminal.records(app.call("contacts.invites"), _COLUMNS, empty="No invitation is open.")
