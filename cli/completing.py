"""What a shell offers after Tab: file names, contacts, and ids with a description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from peerpost.errors import PeerpostError

from .app import App
from .safe import safe

__all__ = [
    "asked",
    "complete_contacts",
    "complete_files",
    "complete_ids",
    "complete_keys",
    "complete_tags",
    "contact_option",
]

MOST = 200
"""How many ids are offered: more than anybody reads, and few enough to be fetched at each Tab."""
PATIENCE_S = 2.0
"""How long completion waits for a node: the user must get the prompt back."""
_HELP_CHARS = 60
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
F = TypeVar("F", bound=Callable[..., Any] | click.Command)


def asked(
    ctx: click.Context, method: str, params: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return what the node lists; empty without an answer. If there is a store and no node runs, one is started."""
    from peerpost.client.ask import connect
    from peerpost.client.paths import HomePaths

    app = ctx.find_object(App) or App()
    try:
        spawn = app.spawn and HomePaths(app.home).store.exists()
        connected = connect(app.home, spawn=spawn, node_args=app.node_args(), patience_s=PATIENCE_S)
        with connected as node:
            node.give_up_after(PATIENCE_S)
            found: list[dict[str, Any]] = node.call(method, params)
    except (PeerpostError, OSError):
        return []
    return found


def complete_files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Make the shell complete the name of a file."""
    return [CompletionItem(incomplete, type="file")]


def complete_ids(method: str, params: dict[str, Any] | None = None) -> Complete:
    """Return a completion of the ids that a method lists, each with a description."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [
            CompletionItem(row["id"], help=_about(row))
            for row in asked(ctx, method, params)
            if row["id"].startswith(incomplete)
        ]

    return complete


def _about(row: dict[str, Any]) -> str:
    """Return a line about a row. What a peer wrote is made safe: the shell prints it."""
    what = row.get("preview") or row.get("name") or row.get("kind") or ""
    parts = (row.get("contact"), what, row.get("state"))
    # In the completion script for fish, a comma separates fields.
    text = safe("  ".join(str(part) for part in parts if part)).replace(",", ";")
    return text if len(text) <= _HELP_CHARS else f"{text[: _HELP_CHARS - 1]}…"


def complete_contacts(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a contact; a node is started if none runs, without a question."""
    return [
        CompletionItem(contact["name"])
        for contact in asked(ctx, "contacts.list")
        if contact["name"].startswith(incomplete) and contact.get("state") != "invited"
    ]


def complete_keys(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the keys of the configuration."""
    from peerpost.client.config import keys

    return [CompletionItem(key) for key in keys() if key.startswith(incomplete)]


def complete_tags(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a tag that some contact has."""
    rows = asked(ctx, "contacts.list")
    tags = sorted({str(tag) for row in rows for tag in row.get("tags", ())})
    return [CompletionItem(tag) for tag in tags if tag.startswith(incomplete)]


def contact_option(help_: str) -> Callable[[F], F]:
    """Return the option that names one contact of a list."""
    return click.option(
        "--contact", "-c", metavar="NAME", shell_complete=complete_contacts, help=help_
    )
