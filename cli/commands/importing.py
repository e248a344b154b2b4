"""`peerpost inbox import`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from peerpost.client.moments import rfc3339
from peerpost.errors import PeerpostError, UsageError

from ..app import App, Command, pass_app
from ..completing import complete_files
from ..counting import Counting
from ..inputs import open_input
from ..passphrases import entered, with_sources
from ..safe import safe

if TYPE_CHECKING:
    from peerpost.client.secrets import Secrets

    from ..importing import BundleImport

__all__ = ["import_"]

_WHOSE = "Passphrase of the bundle"


@click.command(
    "import",
    cls=Command,
    examples="""
    peerpost inbox import archive.zip --dry-run
    peerpost inbox import archive.zip
    peerpost inbox import archive.peerpost --passphrase-file ~/.archive
    ssh nas cat archive.zip | peerpost inbox import -
    """,
)
@click.argument("file", metavar="FILE|-", shell_complete=complete_files)
@click.option(
    "--dry-run", is_flag=True, help="Check it, say what would come of it, change nothing."
)
@with_sources
@pass_app
def import_(app: App, file: str, dry_run: bool, secrets: Secrets) -> None:
    """Take back what was exported; - is stdin.

    Messages, files, ids, times and order come back as they were. All of it is checked before
    anything is changed. What is here already is passed over, so that a bundle can be imported
    twice, and an import that was cut off be run again. Messages of somebody who is no contact here
    are found under the name that the bundle has; nobody becomes a contact.
    """
    from ..importing import opened

    if file == "-" and secrets.reads_stdin:
        raise UsageError(
            "stdin is the bundle, and cannot be the passphrase too", hint="--passphrase-file FILE"
        )
    # A home that is locked is unlocked first, before anybody waits for the check.
    app.call("inbox.owner")
    fd = os.dup(0) if file == "-" else open_input(file)
    try:
        with opened(
            app,
            fd,
            lambda attempt: entered(app, secrets.named_only(), attempt, what=_WHOSE, again=True),
            dry_run=dry_run,
        ) as importing:
            _run(app, importing, Path(file).name)
            _print(app, importing, dry_run=dry_run)
    finally:
        os.close(fd)


def _run(app: App, importing: BundleImport, name: str) -> None:
    with Counting(app.terminal, "import", name, importing.total_bytes) as counting:
        importing.on_bytes = counting.more
        importing.check()
        try:
            with app.so_far("The same command goes on where this one stopped"):
                importing.run()
        except PeerpostError:
            if importing.imported:
                app.terminal.note(
                    f"{importing.imported} messages were imported before that: run it again for the rest."
                )
            raise


def _print(app: App, importing: BundleImport, *, dry_run: bool) -> None:
    manifest = importing.manifest
    row = {
        "imported": importing.imported,
        "duplicates": importing.duplicates,
        "renamed": importing.renamed,
        "contacts": manifest.contacts,
        "files": manifest.files,
        "made": rfc3339(manifest.made_ms),
        "owner": manifest.owner.name,
        "dry_run": dry_run,
    }
    new = "would be imported" if dry_run else "imported"
    app.terminal.record(
        row,
        human=f"{importing.imported} messages {new}, {importing.duplicates} were here already",
    )
    me = app.call("inbox.owner")
    if me["identity"] != manifest.owner.identity:
        app.terminal.note(
            f"The bundle was made by {safe(manifest.owner.name)}, of another identity than this home: what it sent"
            " is listed here as sent. Nobody vouches for a bundle; `imported` marks what comes from one."
        )
    if importing.renamed:
        app.terminal.note(f"{importing.renamed} messages have new ids: theirs were taken.")
