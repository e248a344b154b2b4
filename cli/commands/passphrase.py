"""`peerpost identity passphrase set|change|remove`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from peerpost.client import keyring
from peerpost.errors import UsageError
from peerpost.stopping import Stopped

from ..app import App, Group, pass_app
from ..passphrases import HINT, NO_ARGUMENTS, Descriptor, about_home, choose, with_sources
from ..progress import Progress
from ..unlocking import present

if TYPE_CHECKING:
    from peerpost.client.secrets import Secrets

__all__ = ["passphrase"]


_WHERE_TO_LOOK = (
    "peerpost node status says whether the home is protected; a recovery code that was not shown is replaced by:"
    " peerpost identity passphrase change --new-recovery-code"
)


@click.group(
    cls=Group,
    examples="""
    peerpost identity passphrase set
    peerpost identity passphrase change
    peerpost identity passphrase remove
    """,
)
def passphrase() -> None:
    """Set, change and remove the passphrase of this home."""


@passphrase.command(
    "set",
    context_settings=NO_ARGUMENTS,
    examples="""
    peerpost identity passphrase set
    peerpost identity passphrase set --passphrase-file /etc/peerpost/passphrase
    """,
)
@with_sources
@click.option("--no-recovery-code", is_flag=True, help="Make no code for a lost passphrase.")
@pass_app
def set_(app: App, secrets: Secrets, no_recovery_code: bool) -> None:
    """Protect a home that has no passphrase yet.

    Its keys were readable on the disk so far, so that it gets new ones: the store is encrypted
    anew, in a second copy, and what was there before is overwritten. Meanwhile the node is closed
    for a moment; for a large store, a minute. A copy of the home made before, a snapshot of the
    file system and a flash drive may have the old store and its key all the same.
    """
    if keyring.is_protected(app.home):
        raise UsageError(
            "the home has a passphrase already",
            hint="give it another: peerpost identity passphrase change",
        )
    chosen = choose(app, secrets, about_home(has_code=not no_recovery_code))
    if chosen is None:
        raise UsageError("no passphrase was given", hint=HINT)
    params = {"passphrase": chosen.decode(), "recovery": not no_recovery_code}
    row = _rekey(app, "identity.passphrase.set", params)
    _tell(app, row, "protected")
    _say_logs(app)


@passphrase.command(
    context_settings=NO_ARGUMENTS,
    examples="""
    peerpost identity passphrase change
    peerpost identity passphrase change --passphrase-file old --new-passphrase-file new
    """,
)
@with_sources
@click.option(
    "--new-passphrase-fd",
    type=Descriptor(),
    metavar="N",
    help="Read the new passphrase from this descriptor.",
)
@click.option(
    "--new-passphrase-file",
    metavar="FILE",
    help="Read the new one from a file that only you may read; - is stdin.",
)
@click.option("--new-recovery-code", is_flag=True, help="Make a new recovery code too.")
@pass_app
def change(
    app: App,
    secrets: Secrets,
    new_passphrase_fd: int | None,
    new_passphrase_file: str | None,
    new_recovery_code: bool,
) -> None:
    """Give this home another passphrase.

    It needs the one that the home has, or the recovery code. The key of the store stays, so that it
    takes no longer than an unlock. The recovery code stays
    too, unless there is to be a new one. Whoever has an old copy of the keyfile can open it with
    the old passphrase; where that one is known to somebody, remove it and set another.
    """
    from peerpost.client.secrets import Secrets

    old = present(app, secrets)
    has_code = new_recovery_code or keyring.has_recovery_code(app.home)
    new = Secrets(fd=new_passphrase_fd, file=new_passphrase_file)
    chosen = choose(app, new, about_home(has_code=has_code))
    if chosen is None:
        raise UsageError(
            "no new passphrase was given",
            hint="name where it is: --new-passphrase-file FILE or --new-passphrase-fd N; or be asked for it on a"
            " terminal",
        )
    params = {"passphrase": old, "new": chosen.decode(), "recovery": new_recovery_code}
    _tell(app, app.call("identity.passphrase.change", params), "changed")
    if has_code and not new_recovery_code:
        app.terminal.note("The recovery code of before opens the home as before.")


@passphrase.command(
    context_settings=NO_ARGUMENTS,
    examples="""
    peerpost identity passphrase remove
    peerpost identity passphrase remove --passphrase-file /etc/peerpost/passphrase
    """,
)
@with_sources
@pass_app
def remove(app: App, secrets: Secrets) -> None:
    """Take the passphrase off this home.

    Whoever can read the folder can open it then.

    The store gets a new key, as with set, and the home is open afterwards. The passphrase, or the
    recovery code, is needed once more.
    """
    kept_as = keyring.account(app.home)
    row = _rekey(app, "identity.passphrase.remove", {"passphrase": present(app, secrets)})
    keyring.forget(kept_as)
    app.terminal.note("The home has no passphrase any more: whoever can read the folder can read")
    app.terminal.note("your messages and send in your name.")
    _tell(app, row, "unprotected")


def _say_logs(app: App) -> None:
    """Say that the logs of a home without a passphrase named its contacts, which those written from now on do not."""
    import shlex

    from peerpost.client.logfile import in_clear
    from peerpost.client.paths import HomePaths

    if found := in_clear(HomePaths(app.home).node_log):
        app.terminal.note("The logs of before still name your contacts. To delete them:")
        app.terminal.note(f"rm {shlex.join(os.fspath(path) for path in found)}")


def _rekey(app: App, method: str, params: dict[str, Any]) -> dict[str, Any]:
    app.terminal.note("Encrypting the store anew; what is under way goes on afterwards.")
    try:
        with Progress(app.terminal) as progress:
            row: dict[str, Any] = app.call(method, params, on_event=progress.update)
    except Stopped as stopped:
        if stopped.in_doubt:
            stopped.tell("The node goes on with it, and may have done it", _WHERE_TO_LOOK)
        raise
    return row


def _tell(app: App, row: dict[str, Any], human: str) -> None:
    code = row.get("recovery_code")
    app.terminal.record(row, human=human if code is None else None)
    if code is not None:
        app.terminal.note(
            "Write the recovery code down, and keep it away from this machine: it opens"
        )
        app.terminal.note("this home when the passphrase is lost, and is not shown again.")
