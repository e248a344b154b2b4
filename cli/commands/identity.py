"""`peerpost identity new|show`."""

from __future__ import annotations

import click

from peerpost.errors import UsageError

from ..app import App, Group, pass_app

__all__ = ["identity"]


@click.group(
    cls=Group,
    examples="""
    peerpost identity new --name alice --no-passphrase
    peerpost identity show
    peerpost --home ~/work-peerpost identity new --name alice-at-work --no-passphrase
    """,
)
def identity() -> None:
    """Make and show this home's identity: your keys."""


@identity.command(
    examples="""
    peerpost identity new
    peerpost identity new --name alice --no-passphrase
    """
)
@click.option("--name", metavar="NAME", help="What you are called here; contacts choose their own.")
@click.option("--no-passphrase", is_flag=True, help="Leave the home unprotected, without asking.")
@pass_app
def new(app: App, name: str | None, no_passphrase: bool) -> None:
    """Make the identity of this home.

    The home is not protected by a passphrase: whoever can read the folder can read and send in your
    name. Passphrases come with a later version, and can then be set for this home too.
    """
    if not no_passphrase:
        _confirm_unprotected(app)
    made = app.call(
        "identity.new", {"name": _login_name() if name is None else name, "protect": "none"}
    )
    if app.terminal.json:
        app.terminal.record(made)
    else:
        short = {key: made[key] for key in ("name", "fingerprint", "addresses") if key in made}
        app.terminal.record(short | {"home": str(app.home)})
    app.terminal.note("Next, if somebody gave you a ticket: peerpost contacts add NAME TICKET")
    app.terminal.note("otherwise give them one:            peerpost contacts invite NAME")
    app.terminal.note("To stay reachable when no command runs: peerpost node start")
    if no_passphrase:
        _say_unprotected(app)


def _confirm_unprotected(app: App) -> None:
    """Ask whether an unprotected home is all right. Raises UsageError if nobody can be asked."""
    hint = "say --no-passphrase to make an unprotected home; passphrases come with a later version"
    if not app.terminal.can_ask() or app.terminal.json:
        raise UsageError("no passphrase was given, and this version cannot set one", hint=hint)
    _say_unprotected(app)
    if not click.confirm("Make it unprotected?", err=True):
        raise UsageError("no identity was made", hint=hint)


def _say_unprotected(app: App) -> None:
    app.terminal.note(
        "This version cannot protect the home with a passphrase yet: whoever can read"
    )
    app.terminal.note("the folder can read your messages and send in your name.")


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
