"""`peerpost identity delete`."""

from __future__ import annotations

from typing import Any

import click

from peerpost.client import keyring
from peerpost.client.paths import HomePaths
from peerpost.errors import LockedError, PeerpostError

from ..app import App, Command, pass_app
from ..asking import is_meant

__all__ = ["delete"]


@click.command(
    cls=Command,
    examples="""
    peerpost identity delete
    peerpost --home /tmp/trial identity delete --yes
    """,
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def delete(app: App, yes: bool) -> None:
    """Delete this home's identity, with all that is there.

    Its keyfile is overwritten first, so that nothing of the home can be opened any more, then its
    store and its files are deleted. Nobody can undo that but with a backup. A locked home needs no
    passphrase for it, and a damaged one is deleted as far as it is there.

    Without a terminal, where nobody can be asked, it wants --yes.
    """
    paths = HomePaths(app.home)
    if not paths.has_identity and not paths.store.exists():
        raise paths.no_identity()
    what = f"the identity in {app.home}{_details(app)}"
    undone = "Nothing was deleted"
    if not yes and not is_meant(
        app, "Delete", what, undone=undone, before=lambda: _left(_kept(app))
    ):
        return
    kept_as = keyring.account(app.home)  # The keyfile, which says so, is gone afterwards.
    # One that cannot be opened, because its keyfile or its store is damaged, can be deleted all the same.
    deleted = app.call("identity.delete", node_args=["--closed"])
    keyring.forget(kept_as)
    app.terminal.record(deleted | {"home": str(app.home)}, human=f"{app.home}  deleted")
    for stays in deleted.get("stays", ()):
        app.terminal.warn(f"Not deleted: {stays}.")
    if yes:
        for line in _left(None):
            app.terminal.note(line)


def _details(app: App) -> str:
    """Return in words whose it is and what would be lost, as far as a home that may be locked tells."""
    try:
        # A locked home needs no passphrase for this, so that nobody is asked for it.
        shown = app.call("identity.show", unlocks=False)
        contacts = app.call("contacts.list", unlocks=False)
        queued = sum(contact["queued"] for contact in contacts)
    except LockedError:
        return ", which is locked"
    except PeerpostError:
        return ""
    lost = f", and {queued} messages that are not delivered" if queued else ""
    return f" ({shown['name']}, {shown['fingerprint']}){lost}"


def _kept(app: App) -> str | None:
    """Return in words whether there is a backup."""
    try:
        rows: list[dict[str, Any]] = app.call("doctor")
    except PeerpostError:
        return None
    return next((row["found"] for row in rows if row["check"] == "backup"), None)


def _left(backup: str | None) -> list[str]:
    return [
        "What stays behind: the messages and files that your contacts have, backups and",
        "other copies of this home, what was saved or downloaded, settings and logs, and",
        "your name in your contacts' lists: nobody is told. A drive of flash memory",
        "(SSD), a snapshot and a file system that writes elsewhere may keep the old",
        "keyfile even though it was overwritten: destroy the drive where that matters,",
        "unless the home has a passphrase that nobody can guess.",
        *([] if backup is None else [f"Backups: {backup}."]),
    ]
