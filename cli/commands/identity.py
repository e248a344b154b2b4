"""`peerpost identity new|show|unlock|lock|keyring`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from peerpost.errors import ExistsError, LockedError, UsageError

from ..app import App, Group, pass_app
from ..passphrases import HINT, NO_ARGUMENTS, about_home, choose, hint, with_sources
from .deleting import delete
from .passphrase import passphrase

if TYPE_CHECKING:
    from peerpost.client.connection import NodeConnection
    from peerpost.client.secrets import Secrets

__all__ = ["identity"]


@click.group(
    cls=Group,
    examples="""
    peerpost identity new --name alice
    peerpost identity show
    peerpost identity unlock
    peerpost --home ~/work-peerpost identity new --name alice-at-work --no-passphrase
    """,
)
def identity() -> None:
    """Make, show, lock and unlock this home's identity: your keys."""


@identity.command(
    context_settings=NO_ARGUMENTS,
    examples="""
    peerpost identity new
    peerpost identity new --name alice --no-passphrase
    peerpost identity new --name nas --passphrase-file /etc/peerpost/passphrase
    """,
)
@click.option("--name", metavar="NAME", help="What you are called here; contacts choose their own.")
@with_sources
@click.option("--no-passphrase", is_flag=True, help="Leave the home unprotected, without asking.")
@click.option("--no-recovery-code", is_flag=True, help="Make no code for a lost passphrase.")
@pass_app
def new(
    app: App, name: str | None, no_passphrase: bool, no_recovery_code: bool, secrets: Secrets
) -> None:
    """Make the identity of this home.

    A passphrase protects it on the disk: on a terminal you are asked for one. The recovery code
    opens the home when the passphrase is lost; it is shown this once. With --no-passphrase whoever
    can read the folder can read your messages and send in your name.
    """
    params: dict[str, Any] = {"name": _login_name() if name is None else name}
    if no_passphrase:
        if secrets.named:
            raise UsageError("either a passphrase or --no-passphrase")
        params["protect"] = "none"
    else:
        _require_possible(app, params["name"])
        chosen = choose(app, secrets, about_home(has_code=not no_recovery_code))
        if chosen is None:
            raise UsageError(
                "no passphrase was given",
                hint=f"{HINT}. To leave the home unprotected: --no-passphrase",
            )
        params |= {"protect": "passphrase", "passphrase": chosen.decode()}
        params["recovery"] = not no_recovery_code
        app.terminal.note("Making the keys: this takes a few seconds.")
    made = app.call("identity.new", params)
    if app.terminal.json:
        app.terminal.record(made)
    else:
        keys = ("name", "fingerprint", "addresses", "recovery_code")
        short = {key: made[key] for key in keys if key in made}
        app.terminal.record(short | {"home": str(app.home)})
    if "recovery_code" in made:
        app.terminal.note(
            "Write the recovery code down, and keep it away from this machine: it opens"
        )
        app.terminal.note("this home when the passphrase is lost, and is not shown again.")
    app.terminal.note("Next, if somebody gave you a ticket: peerpost contacts add NAME TICKET")
    app.terminal.note("otherwise give them one:            peerpost contacts invite NAME")
    app.terminal.note("To stay reachable when no command runs: peerpost node start")
    if no_passphrase:
        app.terminal.note(
            "The home has no passphrase (to set one: peerpost identity passphrase set):"
        )
        app.terminal.note(
            "whoever can read the folder can read your messages and send in your name."
        )


def _require_possible(app: App, name: str) -> None:
    """Look before anybody thinks of a passphrase, and before the keys are made. Raises ExistsError, UsageError."""
    from peerpost.client.names import contact_name
    from peerpost.client.paths import HomePaths
    from peerpost.raw_bytes import shown

    if shown(name) == name:  # What is no text is refused by whoever sends it.
        contact_name(name)
    if HomePaths(app.home).has_identity:
        raise ExistsError(
            "this home has an identity already",
            hint="see it with: peerpost identity show; another home: --home DIR",
        )


def _login_name() -> str:
    """Return the name of the user, or "me" where it has none or one that is no name for a
    contact.
    """
    import getpass

    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        return "me"
    return login if login.replace("-", "").replace("_", "").replace(".", "").isalnum() else "me"


@identity.command(
    examples="""
    peerpost identity show
    peerpost --json identity show | jq -r .fingerprint
    """
)
@pass_app
def show(app: App) -> None:
    """Show the id, fingerprint, addresses and public keys."""
    app.terminal.record(app.call("identity.show"))


@identity.command(
    context_settings=NO_ARGUMENTS,
    examples="""
    peerpost identity unlock
    peerpost identity unlock --passphrase-file /etc/peerpost/passphrase
    pass show peerpost | peerpost identity unlock --passphrase-stdin
    peerpost identity unlock --passphrase-fd 3 3< passphrase
    """,
)
@with_sources
@pass_app
def unlock(app: App, secrets: Secrets) -> None:
    """Unlock this home, by its passphrase or its recovery code.

    Without an option the passphrase comes from the keyring of the system, PEERPOST_PASSPHRASE, or
    the terminal. If the home is open already, one that is given is tried all the same.

    The home stays unlocked until it is locked, or its node ends: one that a command
    has started leaves when it is idle, and `node start` keeps it.
    """
    from peerpost.client.ask import connect

    from ..unlocking import unlock as unlocked_by

    node: NodeConnection
    connected = connect(app.home, spawn=app.spawn, node_args=app.node_args(), on_wait=app.waits)
    with connected as node:
        status = node.call("node.status")
        if status["state"] not in ("locked", "locking"):
            row = {"locked": False, "protected": status["protected"], "was_locked": False}
            if status["protected"] and (given := secrets.find()) is not None:
                # One that does not open it would be noticed only when it is locked, and needed.
                row = node.call("identity.unlock", {"passphrase": given.decode()})
            what = "is open already" if status["protected"] else "has no passphrase, and is open"
            app.terminal.note(f"The home {what}.")
        else:
            found = unlocked_by(app, node, secrets)
            if found is None:
                raise LockedError("the home is locked, and no passphrase was given", hint=hint(app))
            row = found
    app.terminal.record(row, human="unlocked")
    if not status.get("stays", True) and status["protected"]:
        app.terminal.note("It is locked again when this node leaves: once it had nothing to do for")
        app.terminal.note(
            "some minutes ([node] idle_exit). To keep it unlocked: peerpost node start"
        )


identity.add_command(passphrase)


@identity.command(examples="peerpost identity lock")
@pass_app
def lock(app: App) -> None:
    """Lock this home: its node goes on without the key.

    No contact can reach it then. What is queued and what is under way stays, and goes on once it
    is unlocked. SIGUSR1 does the same to the node.
    """
    from peerpost.client import keyring
    from peerpost.client.connection import dial
    from peerpost.client.paths import HomePaths

    paths = HomePaths(app.home)
    found = dial(app.home, on_wait=app.waits)
    if found is not None:
        with found as node:
            row = node.call("identity.lock")
    elif not paths.has_identity:
        raise paths.no_identity()
    elif (is_protected := keyring.is_protected(app.home)) is None:
        row = app.call("identity.lock", unlocks=False)
    elif is_protected:
        row = {"locked": True, "protected": True, "was_locked": True}
    else:
        raise UsageError(
            "the home has no passphrase, so that it cannot be locked",
            hint="set one: peerpost identity passphrase set",
        )
    if row["was_locked"]:
        app.terminal.note("The home is locked already.")
    app.terminal.record(row, human="locked")


@identity.command(
    "keyring",
    context_settings=NO_ARGUMENTS,
    examples="""
    peerpost identity keyring
    peerpost identity keyring --forget
    """,
)
@with_sources
@click.option("--forget", is_flag=True, help="Take the secret out of the keyring again.")
@pass_app
def keyring_(app: App, secrets: Secrets, forget: bool) -> None:
    """Let the keyring of the system unlock this home.

    A secret of its own is put there. Whoever is logged in on this machine needs no passphrase then.
    """
    from peerpost.client import keyring

    from ..unlocking import present

    passphrase = present(app, secrets)
    if forget:
        kept_as = keyring.account(app.home)
        row = app.call("identity.keyring", {"passphrase": passphrase})
        keyring.forget(kept_as)
    else:
        # First there: a slot without its secret would ask for it in vain.
        secret = os.urandom(32).hex()
        keyring.keep(app.home, secret)
        row = app.call("identity.keyring", {"passphrase": passphrase, "secret": secret})
    app.terminal.record(row, human="forgotten" if forget else "kept in the keyring")


identity.add_command(delete)
