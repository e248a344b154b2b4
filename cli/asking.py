"""Questions to a person at the terminal.

They are not asked by input(): it drops an exception that a signal raises while the question is printed, so that Ctrl-C
would have no effect.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from peerpost.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .app import App
    from .terminal import Terminal

__all__ = ["answer", "is_meant"]

_YES = frozenset({"y", "yes"})
_NO = frozenset({"", "n", "no"})


def answer(terminal: Terminal, question: str) -> str:
    """Ask, and return the line that is typed, without the spaces around it. Raises click.Abort at the end of input."""
    terminal.ask(question)
    line = sys.stdin.readline()
    if not line:
        raise click.Abort
    return line.strip()


def is_meant(
    app: App, act: str, what: str, *, undone: str, before: Callable[[], Iterable[str]] = tuple
) -> bool:
    """Ask whether to do what cannot be taken back: `act` "Delete", `what` "2 messages". `before` gives lines to say.

    If not, say `undone`: "Nothing was deleted". Raises UsageError if nobody can be asked.
    """
    if not app.terminal.can_ask() or app.terminal.json:
        raise UsageError(f"this would {act.lower()} {what}", hint="say --yes if that is meant")
    for line in before():
        app.terminal.warn(line)
    with app.so_far(undone):
        while (said := answer(app.terminal, f"{act} {what}? [y/N]: ").casefold()) not in _YES | _NO:
            app.terminal.warn("Say y or n.")
    if said in _NO:
        app.terminal.note(f"{undone}.")
    return said in _YES
