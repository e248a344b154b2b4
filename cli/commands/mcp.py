"""`peerpost mcp`: the inbox for a language model, by the Model Context Protocol."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peerpost.client.extras import how_to_install
from peerpost.errors import CannotCreateError, NotFoundError, UnavailableError

from ..app import App, Command, pass_app
from ..completing import complete_contacts, complete_tags

if TYPE_CHECKING:
    from ..mcp_tools import Grants

__all__ = ["mcp"]

_Names = tuple[str, ...]


@click.command(
    "mcp",
    cls=Command,
    examples="""
    peerpost mcp
    peerpost mcp --contact web1 --save-to ~/from-web1
    peerpost mcp --allow-send bob --most-sends 5
    """,
)
@click.option(
    "--contact",
    "-c",
    "contacts",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_contacts,
    help="Show only messages of this contact; several: -c bob -c carol.",
)
@click.option(
    "--allow-send",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_contacts,
    help="Let it send texts to this contact.",
)
@click.option(
    "--allow-send-to-tag",
    "tags",
    multiple=True,
    metavar="TAG",
    shell_complete=complete_tags,
    help="Let it send texts to all who have this tag.",
)
@click.option(
    "--most-sends",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    metavar="N",
    help="How many texts it may send in an hour.",
)
@click.option(
    "--save-to",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Let it save files and texts in this folder.",
)
@pass_app
def mcp(
    app: App, contacts: _Names, names: _Names, tags: _Names, most_sends: int, save_to: Path | None
) -> None:
    """Let a language model look at the inbox, by MCP.

    A server of the Model Context Protocol on stdin and stdout. It can list, search and read, and
    marks nothing as read. It can save and send only with the options for that. What contacts
    wrote is marked as theirs.
    """
    # What is printed here is JSON, and so is an error of the command itself.
    app.terminal.json = True
    try:
        from ..mcp_server import serve
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "peerpost":
            raise
        raise UnavailableError(
            "the library for the Model Context Protocol is not installed",
            hint=how_to_install("mcp"),
        ) from None
    from ..mcp_tools import ModelTools

    serve(ModelTools(app, _granted(app, contacts, names, tags, most_sends, save_to)))


def _granted(
    app: App, contacts: _Names, names: _Names, tags: _Names, most_sends: int, save_to: Path | None
) -> Grants:
    """Return what the options allow, to the contacts who have these names now. Raises NotFoundError."""
    from ..mcp_tools import Grants

    known: list[dict[str, Any]] = [
        row for row in app.call("contacts.list") if row["state"] != "invited"
    ]

    def ids(wanted: _Names) -> frozenset[str]:
        found = {}
        for name in wanted:
            matches = [row["id"] for row in known if name in (row["name"], row["id"])]
            if not matches:
                raise NotFoundError(
                    f"no contact named {name!r}", hint="see: peerpost contacts list"
                )
            found[name] = matches[0]
        return frozenset(found.values())

    return Grants(
        visible=ids(contacts) if contacts else None,
        send_to=ids(names),
        send_to_tags=frozenset(tags),
        sends_an_hour=most_sends,
        save_to=None if save_to is None else _folder(save_to),
    )


def _folder(path: Path) -> Path:
    """Return a folder as it is called now, whatever is put in the place of a link later. Raises CannotCreateError."""
    if not (path.is_dir() and os.access(path, os.W_OK)):
        raise CannotCreateError(
            f"{path} is no folder that can be written to", hint=f"make it first: mkdir {path}"
        )
    return path.resolve()
