"""Help pages: in a terminal of 80 columns no summary is cut, and no option goes without a word."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from peerpost.cli.app import CONTEXT
from peerpost.cli.main import root

LONGEST_CHARS = 60
"""A list of commands has so much room in 80 columns, beside the longest name of a command of a group."""


def commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command under one, with the words that call it."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command, **CONTEXT)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


EVERY = dict(commands(root))
each = pytest.mark.parametrize("command", EVERY.values(), ids=EVERY.keys())


def test_all_are_looked_at() -> None:
    assert {"send", "contacts invite", "inbox list", "node run"} <= set(EVERY)


@each
def test_a_summary_is_one_short_sentence(command: click.Command) -> None:
    if command is root:
        return
    summary = command.get_short_help_str(limit=1000)
    assert 0 < len(summary) <= LONGEST_CHARS, summary


@each
def test_every_option_has_a_text(command: click.Command) -> None:
    with click.Context(command, **CONTEXT) as context:
        options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
    assert [one.opts for one in options if not one.help and not one.hidden] == []
