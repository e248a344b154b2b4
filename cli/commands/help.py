"""`peerpost help COMMAND`: the same page as `peerpost COMMAND --help`."""

from __future__ import annotations

import click

from ..app import App, Command, pass_app
from ..guesses import UnknownCommandError

__all__ = ["help_"]


@click.command("help", cls=Command, examples="peerpost help\npeerpost help contacts add")
@click.argument("command", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
@pass_app
def help_(app: App, ctx: click.Context, command: tuple[str, ...]) -> None:
    """Show how a command is used, as `COMMAND --help` does."""
    at = ctx.find_root()
    for name in command:
        if not isinstance(at.command, click.Group):
            break
        found = at.command.get_command(at, name)
        if found is None:
            raise UnknownCommandError(name, at.command, at)
        at = click.Context(found, info_name=name, parent=at, **found.context_settings)
    app.terminal.text(at.get_help())
