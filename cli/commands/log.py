"""`peerpost log set|show`."""

from __future__ import annotations

import click

from peerpost.errors import UsageError

from ..app import App, Group, pass_app

__all__ = ["log"]


@click.group(
    cls=Group,
    examples="""
    peerpost log show
    peerpost log set debug
    peerpost log set info,peerpost.node.files=trace
    peerpost log set --reset
    """,
)
def log() -> None:
    """See and change what the running node logs.

    Where it logs to: 'node.log' in the home, or stderr of 'node run'.
    """


@log.command(
    "set",
    examples="""
    peerpost log set debug
    peerpost log set debug,libp2p=warn
    peerpost log set info,peerpost.node.files=trace
    peerpost log set off
    peerpost log set --reset
    """,
)
@click.argument("directives", required=False)
@click.option("--reset", is_flag=True, help="Back to what the node began with.")
@pass_app
def set_(app: App, directives: str | None, reset: bool) -> None:
    """Log by DIRECTIVES, in the syntax of RUST_LOG, at once.

    The levels are trace, debug, info, warn, error and off: one for everything, or TARGET=LEVEL for the logger
    TARGET and all below it, separated by commas. It holds until the node ends.
    """
    if (directives is None) is not reset:
        hint = "peerpost log set debug; or --reset"
        raise UsageError("give DIRECTIVES or --reset", hint=hint)
    found = app.call("log.set", {"directives": directives}, spawn=False)
    app.terminal.record(found, human=f"{found['directives']}  ({found['origin']})")
    for name in found["unknown"]:
        app.terminal.warn(f"No logger is called {name} by now; docs/cli.md names them.")
    if not reset:
        app.terminal.note("This holds until the node ends.")
        app.terminal.note("To keep it: peerpost config set log.level DIRECTIVES")


@log.command(examples="peerpost log show\npeerpost --json log show")
@pass_app
def show(app: App) -> None:
    """Show the directives in force, and where they come from."""
    found = app.call("log.show", spawn=False)
    app.terminal.record(found, human=f"{found['directives']}  ({found['origin']})")
