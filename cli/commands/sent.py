"""`peerpost sent list|show`."""

from __future__ import annotations

from typing import Any

import click

from ..app import App, Group, pass_app
from ..completing import MOST, complete_ids, contact_option
from ..listing import after_option, limit_option, show_list

__all__ = ["sent", "show_entry"]

_IDS = complete_ids("sent.list", {"limit": MOST})
_COLUMNS = (
    ("ID", "id"),
    ("CONTACT", "contact"),
    ("KIND", "kind"),
    ("SIZE", "size"),
    ("STATE", "state"),
    ("CREATED", "created"),
    ("DELIVERED", "delivered"),
    ("PREVIEW", "preview"),
    ("LAST ERROR", "last_error"),
)


@click.group(cls=Group, examples="peerpost sent list\npeerpost sent show 7hq2")
def sent() -> None:
    """See what was sent, with its state."""


@sent.command("list", examples="peerpost sent list\npeerpost sent list --contact bob --limit 20")
@contact_option("Only what goes to NAME.")
@limit_option
@after_option
@pass_app
def list_(app: App, contact: str | None, limit: int | None, after: str | None) -> None:
    """List what was sent, newest first."""
    params = {"contact": contact, "after": after}
    show_list(app, "sent.list", params, _COLUMNS, limit=limit, empty="Nothing was sent yet.")


@sent.command(examples="peerpost sent show 7hq2")
@click.argument("id_", metavar="ID", shell_complete=_IDS)
@pass_app
def show(app: App, id_: str) -> None:
    """Show one message that was sent. ID may be its unique beginning."""
    row = app.call("sent.show", {"id": id_})
    body = row.get("body")
    if app.terminal.json or body is None:
        show_entry(app, row)
        return
    # The preview is the beginning of the body.
    show_entry(app, {key: row[key] for key in row if key not in ("preview", "body")})
    app.terminal.text(f"\n{body}")


def show_entry(app: App, row: dict[str, Any]) -> None:
    """Print all of an entry; for people without what is not known of it."""
    if not app.terminal.json:
        row = {key: value for key, value in row.items() if value not in (None, False)}
    app.terminal.record(row)
