"""`peerpost queue list|show|retry|cancel`."""

from __future__ import annotations

from typing import Any

import click

from ..app import App, Group, pass_app
from ..completing import MOST, complete_ids, contact_option
from ..listing import after_option, limit_option, show_list
from .sent import show_entry

__all__ = ["queue"]

_IDS = complete_ids("queue.list", {"limit": MOST})
_COLUMNS = (
    ("ID", "id"),
    ("CONTACT", "contact"),
    ("KIND", "kind"),
    ("SIZE", "size"),
    ("LANE", "lane"),
    ("STATE", "state"),
    ("DONE", "progress"),
    ("ATTEMPTS", "attempts"),
    ("NEXT", "next_attempt"),
    ("PREVIEW", "preview"),
    ("LAST ERROR", "last_error"),
)


@click.group(
    cls=Group,
    examples="""
    peerpost queue list
    peerpost queue retry 7hq2
    peerpost queue cancel 7hq2
    """,
)
def queue() -> None:
    """See, hurry and take back what is not delivered yet."""


@queue.command("list", examples="peerpost queue list\npeerpost queue list --contact bob --json")
@contact_option("Only what goes to NAME.")
@limit_option
@after_option
@pass_app
def list_(app: App, contact: str | None, limit: int | None, after: str | None) -> None:
    """List what is not delivered yet, oldest first."""
    params = {"contact": contact, "after": after}
    empty = "Nothing is queued."
    show_list(app, "queue.list", params, _COLUMNS, limit=limit, empty=empty)


@queue.command(examples="peerpost queue show 7hq2")
@click.argument("id_", metavar="ID", shell_complete=_IDS)
@pass_app
def show(app: App, id_: str) -> None:
    """Show one entry. ID may be its unique beginning."""
    show_entry(app, app.call("queue.show", {"id": id_}))


@queue.command(examples="peerpost queue retry 7hq2")
@click.argument("id_", metavar="ID", shell_complete=_IDS)
@pass_app
def retry(app: App, id_: str) -> None:
    """Try to deliver it now, without waiting."""
    _print(app, app.call("queue.retry", {"id": id_}))


@queue.command(examples="peerpost queue cancel 7hq2")
@click.argument("id_", metavar="ID", shell_complete=_IDS)
@pass_app
def cancel(app: App, id_: str) -> None:
    """Take back what is not delivered yet."""
    _print(app, app.call("queue.cancel", {"id": id_}))


def _print(app: App, row: dict[str, Any]) -> None:
    app.terminal.record(
        row, human=f"{row['id']}  {row['state']}  {row['kind']}  to {row['contact']}"
    )
