"""`peerpost demo`: a program of its own."""

from __future__ import annotations

import click

from ..app import App, Command, pass_app
from ..completing import complete_files
from ..process import become

__all__ = ["demo"]


@click.command(
    cls=Command, examples="peerpost demo\npeerpost demo --file photo.jpg\npeerpost demo --json"
)
@click.option(
    "--file",
    "path",
    metavar="FILE",
    shell_complete=complete_files,
    help="Send this file instead of 10 MB of random bytes.",
)
@click.option("--keep", is_flag=True, help="Keep the temporary folder.")
@pass_app
def demo(app: App, path: str | None, keep: bool) -> None:
    """See two nodes exchange a text and a file.

    It shows what can go wrong on the way, too.

    Exit code 0 only if the bytes that arrived are those that were sent.
    """
    become(
        "peerpost.demo",
        *([] if path is None else [f"--file={path}"]),
        *(["--keep"] if keep else []),
        *(["--json"] if app.terminal.json else []),
    )
