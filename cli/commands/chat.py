"""`peerpost chat`."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

import click

from peerpost.client.extras import how_to_install
from peerpost.errors import NotFoundError, UnavailableError, UsageError

from ..app import App, Command, pass_app
from ..completing import complete_contacts

__all__ = ["chat"]

_INSTEAD = "--linear needs no screen; or use peerpost send and peerpost inbox watch"


@click.command(
    "chat",
    cls=Command,
    examples="""
    peerpost chat
    peerpost chat bob
    peerpost chat --linear bob
    echo "the build is green" | peerpost chat --linear bob
    """,
)
@click.argument("name", metavar="[NAME]", required=False, shell_complete=complete_contacts)
@click.option("--linear", is_flag=True, help="Plain lines, for a screen reader or a pipe.")
@pass_app
def chat(app: App, name: str | None, linear: bool) -> None:
    """Read and write on the whole screen.

    NAME is the contact to begin with. F1 shows the keys; Ctrl-Q leaves. With --linear it is plain
    lines: what is typed is sent, and /help lists the commands.
    """
    if app.terminal.json:
        raise UsageError(
            "a chat is for people",
            hint="with --json: peerpost inbox watch, peerpost send, or peerpost rpc",
        )
    if not linear:
        _require_screen()
    # Asked before the screen is taken: the home may have to be unlocked.
    contacts = app.call("contacts.list")
    contact_id = _contact_id(contacts, name)
    if linear:
        from ..chat.linear import Linear

        app.code = Linear(app).run(contacts, contact_id)
        return
    from ..chat.screen.chat import run

    app.code = run(app, contacts, contact_id)


def _require_screen() -> None:
    """Raise UsageError or UnavailableError, saying what to use instead, if there is no screen to draw on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("a chat on the whole screen needs a terminal", hint=_INSTEAD)
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown", ""):
        term = os.environ.get("TERM") or "empty"
        raise UsageError(f"this terminal cannot be drawn on (TERM is {term})", hint=_INSTEAD)
    if not (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf8"):
        raise UsageError("this terminal is not set to UTF-8", hint=f"set LANG=C.UTF-8; {_INSTEAD}")
    if importlib.util.find_spec("textual") is None:
        raise UnavailableError(
            "the library for the screen is not installed",
            hint=f"{how_to_install('tui')}; --linear needs none",
        )


def _contact_id(contacts: list[dict[str, Any]], name: str | None) -> str:
    """Return the id of the contact with this name or id; empty without one. Raises NotFoundError."""
    if name is None:
        return ""
    known = [row for row in contacts if row["state"] != "invited"]
    for row in known:
        if name in (row["name"], row["id"]):
            return str(row["id"])
    import difflib

    near = difflib.get_close_matches(name, [row["name"] for row in known], 1)
    hint = f"did you mean {near[0]!r}?" if near else "see: peerpost contacts list"
    raise NotFoundError(f"there is no contact {name!r}", hint=hint)
