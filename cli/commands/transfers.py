"""`peerpost transfers list|show|pause|resume|accept|reject`."""

from __future__ import annotations

from typing import Any

import click

from peerpost.errors import RefusedError, UsageError

from ..app import App, Group, pass_app
from ..completing import MOST, complete_ids
from ..listing import after_option, limit_option, show_list
from ..progress import Progress

__all__ = ["transfers"]

_IDS = complete_ids("transfers.list", {"limit": MOST})
_ASKING = complete_ids("transfers.asking")
_COLUMNS = (
    ("ID", "id"),
    ("DIRECTION", "direction"),
    ("CONTACT", "contact"),
    ("SIZE", "size"),
    ("STATE", "state"),
    ("DONE", "progress"),
    ("RATE", "rate_bytes_s"),
    ("ETA", "eta_s"),
    ("NAME", "name"),
    ("CAUSE", "error"),
)


@click.group(
    cls=Group,
    examples="""
    peerpost transfers list
    peerpost transfers pause 7hq2
    peerpost transfers accept 7hq2
    peerpost transfers reject 7hq2
    """,
)
def transfers() -> None:
    """See, pause, accept and reject files under way."""


@transfers.command("list", examples="peerpost transfers list\npeerpost transfers list --follow")
@click.option("--follow", is_flag=True, help="Watch those under way until all have ended.")
@limit_option
@after_option
@pass_app
def list_(app: App, follow: bool, limit: int | None, after: str | None) -> None:
    """List files in both directions, newest first.

    Those under way, and those that have arrived.
    """
    empty = "No files are under way."
    if not follow:
        show_list(app, "transfers.list", {"after": after}, _COLUMNS, limit=limit, empty=empty)
        return
    if limit is not None or after is not None:
        raise UsageError("--follow watches all that are under way", hint="leave out --limit")
    with Progress(app.terminal) as progress:
        app.call("transfers.follow", {}, on_event=lambda row: _follow(app, progress, row))
    if not app.terminal.json:
        app.terminal.note(empty)


@transfers.command(examples="peerpost transfers show 7hq2\npeerpost transfers show 7hq2 --follow")
@click.argument("id_", metavar="ID", shell_complete=_IDS)
@click.option("--follow", is_flag=True, help="Watch it until it has ended; exit 76 unless done.")
@pass_app
def show(app: App, id_: str, follow: bool) -> None:
    """Show one transfer. ID may be its unique beginning, or the id of the message that sends it."""
    if not follow:
        app.terminal.record(app.call("transfers.show", {"id": id_}))
        return
    with Progress(app.terminal) as progress:
        row = app.call(
            "transfers.follow",
            {"id": id_},
            on_event=lambda row: _follow(app, progress, row),
        )
        progress.update(row)
    app.terminal.record(row)
    if row["state"] != "done":
        raise RefusedError(f"{row['id']} {row['state']}: {row['error'] or 'no reason given'}")


def _follow(app: App, progress: Progress, row: dict[str, Any]) -> None:
    """Show a row that has changed: with --json as data, otherwise as progress and at the end as data."""
    if app.terminal.json:
        app.terminal.record(row)
        return
    progress.update(row)
    if row["state"] in ("done", "failed", "cancelled"):
        with progress.aside():
            _print(app, row)


@transfers.command(examples="peerpost transfers pause 7hq2")
@click.argument("id_", metavar="ID", shell_complete=_IDS)
@pass_app
def pause(app: App, id_: str) -> None:
    """Stop a file until it is resumed here.

    The other side is told, and waits. ID is the transfer's, or that of the message that sends it.
    """
    _print(app, app.call("transfers.pause", {"id": id_}))


@transfers.command(examples="peerpost transfers resume 7hq2")
@click.argument("id_", metavar="ID", shell_complete=_IDS)
@pass_app
def resume(app: App, id_: str) -> None:
    """Go on with a file that was paused here."""
    _print(app, app.call("transfers.resume", {"id": id_}))


@transfers.command(examples="peerpost transfers accept 7hq2")
@click.argument("id_", metavar="ID", shell_complete=_ASKING)
@pass_app
def accept(app: App, id_: str) -> None:
    """Take a file that asks because it is large."""
    _print(app, app.call("transfers.accept", {"id": id_}))


@transfers.command(examples="peerpost transfers reject 7hq2")
@click.argument("id_", metavar="ID", shell_complete=_IDS)
@pass_app
def reject(app: App, id_: str) -> None:
    """Refuse a file, also one that is coming in.

    The sender is told.
    """
    _print(app, app.call("transfers.reject", {"id": id_}))


def _print(app: App, row: dict[str, Any]) -> None:
    app.terminal.record(
        row,
        human=f"{row['id']}  {row['state']}  {row.get('name') or ''}  {row.get('error') or ''}".rstrip(),
    )
