"""`peerpost sent list|show`."""

from __future__ import annotations

from typing import Any

import click

from ..app import App, Group, complete_contacts, pass_app

__all__ = ["sent"]

_COLUMNS = (
    ("ID", "id"),
    ("CONTACT", "contact"),
    ("KIND", "kind"),
    ("SIZE", "size"),
    ("STATE", "state"),
    ("CREATED", "created"),
    ("DELIVERED", "delivered"),
    ("NAME", "name"),
)


@click.group(cls=Group, examples="peerpost sent list\npeerpost sent show 7hq2")
def sent() -> None:
    """See what was sent, with its state."""


@sent.command("list", examples="peerpost sent list\npeerpost sent list --contact bob --limit 20")
@click.option("--contact", "-c", metavar="NAME", shell_complete=complete_contacts)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many.")
@pass_app
def list_(app: App, contact: str | None, limit: int | None) -> None:
    """List what was sent, newest first."""
    params: dict[str, Any] = {"contact": contact, "limit": limit}
    given = {key: value for key, value in params.items() if value is not None}
    app.terminal.records(app.call("sent.list", given), _COLUMNS, empty="Nothing was sent yet.")


@sent.command(examples="peerpost sent show 7hq2")
@click.argument("id_", metavar="ID")
@pass_app
def show(app: App, id_: str) -> None:
    """Show one message that was sent. ID may be its unique beginning."""
    app.terminal.record(app.call("sent.show", {"id": id_}))
