"""`peerpost completion SHELL`."""

from __future__ import annotations

import os
import shlex

import click

from ..app import App, Command, pass_app

__all__ = ["completion"]


@click.command(
    cls=Command,
    examples="""
    peerpost completion bash --install
    echo 'eval "$(peerpost completion bash)"' >> ~/.bashrc
    echo 'autoload -Uz compinit; compinit; eval "$(peerpost completion zsh)"' >> ~/.zshrc
    mkdir -p ~/.config/fish/completions; peerpost completion fish > ~/.config/fish/completions/peerpost.fish
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--install", "installs", is_flag=True, help="Write it where SHELL looks for it.")
@pass_app
def completion(app: App, shell: str, installs: bool) -> None:
    """Print the completion script for SHELL, or install it.

    It knows commands, options, contacts, ids and files.
    """
    from click.shell_completion import get_completion_class

    class_ = get_completion_class(shell)
    if class_ is None:
        return
    root = click.get_current_context().find_root().command
    script = class_(root, {}, "peerpost", "_PEERPOST_COMPLETE").source().strip()
    if installs:
        _install(app, shell, script)
    else:
        app.terminal.drawing(script)


def _install(app: App, shell: str, script: str) -> None:
    from ..completion_file import install

    done = install(shell, script, os.environ)
    app.has_acted = done.state != "unchanged"
    path = os.fspath(done.path)
    human = f"{path}  {done.state}"
    app.terminal.record({"shell": shell, "path": path, "state": done.state}, human=human)
    for hint in done.hints:
        app.terminal.warn(hint)
    if done.state == "unchanged":
        app.terminal.note("It was there already.")
        return
    app.terminal.note(f"It works in the next {shell} that you start.")
    app.terminal.note(f"To undo it: rm {shlex.quote(path)}")
