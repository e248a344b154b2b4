"""`peerpost backup create|restore`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peerpost.client import keyring
from peerpost.client.paths import HomePaths
from peerpost.client.units import format_size
from peerpost.errors import (
    CannotCreateError,
    ExistsError,
    LockedError,
    PeerpostError,
    ReaderLeftError,
    UsageError,
    WrongPassphraseError,
)

from ..app import App, Group, pass_app
from ..inputs import open_input
from ..output import into, raw_on_terminal, require_free
from ..passphrases import (
    HINT_OF_FILE,
    NO_ARGUMENTS,
    choose,
    entered,
    with_sources,
)
from ..progress import Progress

if TYPE_CHECKING:
    from peerpost.client.secrets import Secrets

__all__ = ["backup"]

_WHOSE = "Passphrase of the backup"
_ABOUT = (
    "A backup has a passphrase of its own. Whoever has the file and the passphrase",
    "can read all that is in the home, and send in your name; without it nobody can",
    "open the file.",
)


@click.group(
    cls=Group,
    examples="""
    peerpost backup create ~/peerpost-backup
    peerpost --home ~/new-home backup restore ~/peerpost-backup
    """,
)
def backup() -> None:
    """Make a backup of this home, and put a home back from one."""


@backup.command(
    context_settings=NO_ARGUMENTS,
    examples="""
    peerpost backup create ~/peerpost-backup
    peerpost backup create --without-files --passphrase-file ~/.backup-passphrase small-backup
    peerpost backup create - --passphrase-file ~/.backup-passphrase | ssh nas 'cat > peerpost-backup'
    """,
)
@click.argument("file", metavar="FILE")
@with_sources
@click.option("--without-files", is_flag=True, help="Leave out files, sent and received.")
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@pass_app
def create(app: App, file: str, without_files: bool, force: bool, secrets: Secrets) -> None:
    """Write a backup of this home to FILE; - is stdout.

    The node goes on meanwhile: all that is in the backup is of one moment. It is sealed under a
    passphrase of its own, which need not be the home's. Opening the home that comes out of it takes
    the home's own passphrase too, if it has one.
    """
    if file == "-" and sys.stdout.isatty():
        raise raw_on_terminal()
    if file != "-":
        _require_outside(app.home, Path(file))
    if _is_file(file):
        # Looked at before anybody thinks of a passphrase, and again when the file gets its name.
        require_free(Path(file), force=force)
    _need_open(app)
    secret = choose(app, secrets.named_only(), about=_ABOUT, what=_WHOSE)
    if secret is None:
        raise UsageError("no passphrase was given for the backup", hint=HINT_OF_FILE)
    params = {"passphrase": secret.decode(), "files": not without_files}
    # Whoever has it can try passphrases for as long as they like, so it is for its owner alone.
    made, in_data = into(file, lambda fd: _made(app, file, params, fd), force=force, mode=0o600)
    try:
        app.call("backup.kept", {"made_ms": made.pop("made_ms")})
    except PeerpostError as error:
        # The backup is there, and good: only `doctor` will not know of it.
        app.terminal.note(f"doctor will not name this backup: {error.message}")
    if in_data:
        return
    if app.terminal.quiet and not app.terminal.json:
        # As with `send`: cron mails what is printed, and each night nobody wants to read that all is well.
        return
    much = format_size(made["size"])
    app.terminal.record(
        made | {"path": file}, human=f"{file}  {much} of this home, as of {made['made']}"
    )
    if not made["files"]:
        app.terminal.note("Files are not in it.")


def _require_outside(home: Path, file: Path) -> None:
    """Raise CannotCreateError if a backup would become a file of the home, and might replace one."""
    if home.resolve() in (file.resolve(), *file.resolve().parents):
        raise CannotCreateError(
            f"{file} lies in the home that is to be backed up", hint="name a file somewhere else"
        )


def _need_open(app: App) -> None:
    """Unlock the home if it is locked, before anything is said or asked about the backup and its passphrase.

    Raises LockedError if that cannot be done.
    """
    try:
        app.call("identity.show")
    except WrongPassphraseError as error:
        raise WrongPassphraseError(
            f"to unlock the home: {error.message}", hint=error.hint
        ) from None
    except LockedError as error:
        raise LockedError(
            f"{error.message}, and only an open one can be backed up; the options name the passphrase of the backup,"
            " not the home's",
            hint=error.hint,
        ) from None


def _made(app: App, file: str, params: dict[str, Any], fd: int) -> dict[str, Any]:
    try:
        made: dict[str, Any] = _followed(
            app,
            "backup.create",
            params,
            fd,
            "backup",
            file,
            begins=lambda: app.terminal.note(
                "Making the backup: its key alone takes a second or more."
            ),
        )
    except ReaderLeftError as error:
        raise SystemExit(error.exit_code) from None
    return made


@backup.command(
    context_settings=NO_ARGUMENTS,
    examples="""
    peerpost backup restore ~/peerpost-backup
    peerpost --home ~/new-home backup restore ~/peerpost-backup --passphrase-file ~/.backup-passphrase
    ssh nas 'cat peerpost-backup' | peerpost backup restore - --passphrase-file ~/.backup-passphrase
    """,
)
@click.argument("file", metavar="FILE")
@with_sources
@pass_app
def restore(app: App, file: str, secrets: Secrets) -> None:
    """Put this home back from a backup; - is stdin.

    The home must be empty. It is there whole, or not at all, whatever interrupts this. Your contacts
    are told that it was put back, and send again what it lacks, as far as they still have it.

    Never let the home that the backup was made of run again.
    """
    paths = HomePaths(app.home)
    if paths.has_identity:
        raise ExistsError(
            f"{app.home} is not empty: a home is put back into an empty one",
            hint="move that one aside, or name another folder: --home DIR",
        )
    if file == "-" and secrets.reads_stdin:
        raise UsageError(
            "stdin is the backup, and cannot be the passphrase too", hint="--passphrase-file FILE"
        )
    back = _restored(app, file, secrets.named_only())
    row = {key: value for key, value in back.items() if key != "made_ms"}
    app.terminal.record(
        row | {"home": str(app.home)},
        human=f"{app.home}  put back as of {back['made']}",
    )
    if not back["files"]:
        app.terminal.note("Files are not in it: those that were received cannot be saved any more.")
    app.terminal.note("Never let the home that the backup was made of run again.")
    if keyring.is_protected(app.home):
        app.terminal.note(
            "It is locked by the passphrase that the home had then, not by the backup's."
        )
    app.terminal.note("Your contacts are told when the node meets them: peerpost node start")


def _restored(app: App, file: str, secrets: Secrets) -> dict[str, Any]:
    def tried(secret: bytes) -> dict[str, Any]:
        source = 0 if file == "-" else open_input(file)
        return _followed(
            app, "backup.restore", {"passphrase": secret.decode()}, source, "restore", file
        )

    return entered(app, secrets, tried, what=_WHOSE, again=file != "-")


def _is_file(file: str) -> bool:
    """Return whether a file is to be made under this name."""
    return file != "-" and (not Path(file).exists() or Path(file).is_file())


def _followed(
    app: App,
    method: str,
    params: dict[str, Any],
    fd: int,
    what: str,
    file: str,
    *,
    begins: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Ask the node, and show how far it is: to a person or a program, and not in a log or a mail of cron.

    `begins` is called once the node has begun: what is refused at once is refused before.
    """
    has_begun = False

    def look(_: object) -> None:
        nonlocal has_begun
        if not has_begun:
            has_begun = True
            begins()

    if not (app.terminal.can_draw() or app.terminal.json):
        quietly: dict[str, Any] = app.call(method, params, fds=[fd], on_event=look)
        return quietly
    name = what if file == "-" else Path(file).name
    with Progress(app.terminal) as progress:

        def tell(event: dict[str, int]) -> None:
            look(event)
            done, total = event["done_bytes"], event["total_bytes"]
            progress.update(
                {
                    "id": what,
                    "name": name,
                    "state": "active",
                    "size": total,
                    "done_bytes": done,
                    "progress": done / total if total else 0.0,
                }
            )

        found: dict[str, Any] = app.call(method, params, fds=[fd], on_event=tell)
    return found
