"""`peerpost inbox list|show|save|delete|mark`, and what the modules beside this one have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from peerpost.errors import NotFoundError, UsageError

from ..app import App, Group, pass_app
from ..asking import is_meant
from ..completing import MOST, complete_files, complete_ids, contact_option
from ..inputs import Duration, Moment
from ..listing import PAGE_ROWS, after_option, limit_option, show_list
from ..marking import mark_read
from ..progress import say_asking
from .exporting import export
from .importing import import_
from .reading import ack, readers, watch
from .searching import search

if TYPE_CHECKING:
    from ..block import LongRecord

__all__ = ["inbox"]

_IDS = complete_ids("inbox.list", {"limit": MOST})
_COLUMNS = (
    ("ID", "id"),
    ("FROM", "contact"),
    ("KIND", "kind"),
    ("SIZE", "size"),
    ("RECEIVED", "received_at"),
    ("UNREAD", "unread"),
    ("PREVIEW", "preview"),
)


@click.group(
    cls=Group,
    examples="""
    peerpost inbox list --unread
    peerpost inbox search invoice
    peerpost inbox show k3f9
    peerpost inbox save k3f9 --out report.pdf
    peerpost inbox delete k3f9
    peerpost inbox watch --json --as bot
    """,
)
def inbox() -> None:
    """Read, search, save and delete what was received."""


@inbox.command(
    "list",
    examples="""
    peerpost inbox list
    peerpost inbox list --unread --contact bob
    peerpost inbox list --since 2h --json
    peerpost inbox list --unread --oldest --limit 1 --json
    """,
)
@contact_option("Only what NAME sent.")
@click.option("--unread", is_flag=True, help="Only what was not read yet.")
@limit_option
@after_option
@click.option("--oldest", is_flag=True, help="The oldest first.")
@click.option("--since", type=Moment(), metavar="T", help="A date, a time, or how long ago (2h).")
@pass_app
def list_(
    app: App,
    contact: str | None,
    unread: bool,
    limit: int | None,
    after: str | None,
    oldest: bool,
    since: int | None,
) -> None:
    """List what was received, newest first."""
    params = {"contact": contact, "unread": unread or None, "since": since, "after": after}
    params["oldest"] = oldest or None
    show_list(
        app, "inbox.list", params, _COLUMNS, limit=limit, empty="Nothing here.", shown=_for_people
    )
    say_asking(app, contact)
    app.say_just_started()


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    kind = "folder" if row.get("directory") else row["kind"]
    return row | {"kind": f"{kind} (gap)" if row.get("gap") else kind}


inbox.add_command(search)


@inbox.command(
    examples="""
    peerpost inbox show k3f9
    peerpost --json inbox show k3f9 --peek
    """
)
@click.argument("id_", metavar="ID", shell_complete=_IDS)
@click.option("--peek", is_flag=True, help="Leave it unread.")
@pass_app
def show(app: App, id_: str, peek: bool) -> None:
    """Show one message and mark it as read. ID may be its unique beginning."""
    long: list[LongRecord] = []

    def on_event(event: dict[str, Any]) -> None:
        """Take a long text piece by piece, behind what there is to say of it."""
        if long:
            long[0].feed(event["text"])
        else:
            shown = event["item"] if app.terminal.json else _about(event["item"])
            long.append(app.terminal.long_record(shown, "body"))

    try:
        item = app.call("inbox.read", {"id": id_, "peek": True}, on_event=on_event)
    except NotFoundError:
        app.say_just_started()
        raise
    if long:
        long[0].end()
    else:
        _print(app, item)
    if not peek and item.get("unread", True):
        # Marked only now: a message that nobody has seen must stay unread, because retention keeps unread messages.
        mark_read(app, item["id"])


def _print(app: App, item: dict[str, Any]) -> None:
    if app.terminal.json:
        app.terminal.record(item)
        return
    app.terminal.record(_about(item))
    body = item.get("body")
    if body is None:
        app.terminal.note(f"Save it: peerpost inbox save {item['id']}")
    else:
        app.terminal.text(f"\n{body}")


def _about(item: dict[str, Any]) -> dict[str, Any]:
    """Return what a person reads above a message; its preview the name or the body says already."""
    kind = "folder" if item.get("directory") else item["kind"]
    left_out = {"body", "preview", "directory", "cursor"}
    if not item.get("imported"):
        left_out.add("imported")
    return {
        key: kind if key == "kind" else value
        for key, value in item.items()
        if key not in left_out and value is not None
    }


@inbox.command(
    examples="""
    peerpost inbox save k3f9
    peerpost inbox save k3f9 --out report.pdf
    peerpost inbox save 7hq2 --out photos
    peerpost inbox save 7hq2 --out - | tar -x
    peerpost inbox save k3f9 7hq2 --out downloads/ --move
    peerpost inbox save --all --unread --contact nas --out backups/
    """
)
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=_IDS)
@click.option(
    "--out",
    metavar="FILE|DIR/|-",
    shell_complete=complete_files,
    help="Where to; '-' is stdout.",
)
@click.option("--all", "every", is_flag=True, help="All that is in the inbox.")
@contact_option("Of --all, NAME's.")
@click.option("--unread", is_flag=True, help="Of --all, what was not read or saved yet.")
@click.option("--files", is_flag=True, help="Of --all, files and folders, and no texts.")
@click.option("--move", is_flag=True, help="Delete each message once it is safely saved.")
@click.option("--force", is_flag=True, help="Replace what exists.")
@pass_app
def save(
    app: App,
    ids: tuple[str, ...],
    out: str | None,
    every: bool,
    contact: str | None,
    unread: bool,
    files: bool,
    move: bool,
    force: bool,
) -> None:
    """Save files and texts, byte for byte; unpack folders.

    Without --out, with several, and with --out DIR/ each gets its own name, or one with a number
    where that is taken. FILE appears only when it is whole. What is in a folder comes to lie in
    FILE itself; named like FILE.tar it stays packed.
    """
    from ..saving import Saving, received

    if bool(ids) == every:
        raise UsageError("either ID... or --all says what to save", hint="ids: peerpost inbox list")
    if (contact is not None or unread or files) and not every:
        raise UsageError("--contact, --unread and --files go with --all")
    if out == "":
        raise UsageError("--out is empty: name a file or a folder")
    saving = Saving(app=app, out=out, force=force, move=move)
    if not every:
        saving.save(list(ids))
        return
    saving.save_each(received(app, contact, unread=unread, files=files))


@inbox.command(
    examples="""
    peerpost inbox delete k3f9
    peerpost inbox delete k3f9 7hq2 --contact bob
    peerpost inbox delete --older-than 90d
    peerpost inbox delete --older-than 24h --contact nas --yes
    """
)
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=_IDS)
@click.option(
    "--older-than",
    type=Duration(),
    metavar="DURATION",
    help="What was received longer ago than this.",
)
@contact_option("Only what NAME sent.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def delete(
    app: App, ids: tuple[str, ...], older_than: float | None, contact: str | None, yes: bool
) -> None:
    """Delete messages for good, here alone.

    This frees their space on the disk. By ID, all are deleted or, if one does not exist, none;
    or by age. A deleted message is not shown again, even if its sender sends it again.
    --older-than asks if it is more than one message.
    """
    from ..times import ago_ms

    if (not ids) == (older_than is None):
        raise UsageError("either ID... or --older-than DURATION says what to delete")
    of = {} if contact is None else {"contact": contact}
    if older_than is None:
        _print_deleted(app, app.call("inbox.delete", {"ids": list(ids), **of}))
        return
    # The time is fixed here: messages that arrive while the question is open are not meant.
    before = {"before": ago_ms(older_than), **of}
    found = app.call("inbox.older", before)
    if not found["count"]:
        app.terminal.note("Nothing is that old.")
        return
    if found["count"] > 1 and not yes:
        from peerpost.client.units import format_size

        much = f"{found['count']} messages ({format_size(found['size'])})"
        if not is_meant(app, "Delete", much, undone="Nothing was deleted"):
            return
    while True:
        gone = app.call("inbox.delete", {**before, "limit": PAGE_ROWS})
        with app.going_on():
            _print_deleted(app, gone)
        if len(gone) < PAGE_ROWS:
            return


def _print_deleted(app: App, gone: list[dict[str, Any]]) -> None:
    for row in gone:
        app.terminal.record(row, human=f"{row['id']}  deleted")


@inbox.command(examples="peerpost inbox mark k3f9\npeerpost inbox mark k3f9 7hq2 --unread")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, shell_complete=_IDS)
@click.option("--unread", is_flag=True, help="Mark as unread instead.")
@pass_app
def mark(app: App, ids: tuple[str, ...], unread: bool) -> None:
    """Mark messages as read, or as unread."""
    for row in app.call("inbox.mark", {"ids": list(ids), "unread": unread}):
        app.terminal.record(row, human=f"{row['id']}  {'unread' if row['unread'] else 'read'}")


inbox.add_command(export)
inbox.add_command(import_)
inbox.add_command(watch)
inbox.add_command(ack)
inbox.add_command(readers)
