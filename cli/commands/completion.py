"""`peerpost completion SHELL`."""

from __future__ import annotations

import click

from ..app import App, Command, pass_app

__all__ = ["completion"]


@click.command(
    cls=Command,
    examples="""
    echo 'eval "$(peerpost completion bash)"' >> ~/.bashrc
    echo 'autoload -Uz compinit; compinit; eval "$(peerpost completion zsh)"' >> ~/.zshrc
    mkdir -p ~/.config/fish/completions; peerpost completion fish > ~/.config/fish/completions/peerpost.fish
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_app
def completion(app: App, shell: str) -> None:
    """Print the completion script for SHELL. It knows commands, options, contacts, ids and files."""
    from click.shell_completion import get_completion_class

    class_ = get_completion_class(shell)
    if class_ is not None:
        script = class_(
            click.get_current_context().find_root().command, {}, "peerpost", "_PEERPOST_COMPLETE"
        )
        app.terminal.drawing(script.source().strip())
