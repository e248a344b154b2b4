"""The examples at the foot of each help page are what the program takes: commands, options, and how many arguments.

tests/e2e/test_examples.py runs them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from peerpost.cli.app import CONTEXT, App
from peerpost.cli.main import root


def every(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield (command, line) of every example."""
    for line in getattr(command, "examples", "").strip().splitlines():
        yield " ".join(path), line.strip()
    if isinstance(command, click.Group):
        context = click.Context(command, **CONTEXT)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from every(inner, (*path, name))


def calls(line: str) -> list[list[str]]:
    """Return the arguments of each `peerpost` in a line of a shell."""
    flat = re.sub(r'"\$\((.*?)\)"', r"; \1 ;", line)
    flat = re.sub(r"'cat [^']*'", "", flat)
    flat = re.sub(r"'(.*peerpost .*)'", r"; \1 ;", flat)
    found = []
    for part in re.split(r" \| |;|&&|\d?[<>]+ ?\S*|\(|\)", flat):
        words = shlex.split(part)
        if "peerpost" in words[:-1]:
            found.append(words[words.index("peerpost") + 1 :])
    return found


EXAMPLES = sorted(set(every(root)))


def parse(arguments: list[str]) -> click.Command:
    """Parse a command line to its end, and run nothing. Raises UsageError."""
    context = root.make_context("peerpost", list(arguments), obj=App())
    command: click.Command = root
    rest = [*context._protected_args, *context.args]
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
        context = command.make_context(name, rest, parent=context)
        rest = [*context._protected_args, *context.args]
    return command


@pytest.mark.parametrize(("page", "line"), EXAMPLES, ids=[f"{p}: {x}" for p, x in EXAMPLES])
def test_an_example_is_taken(page: str, line: str) -> None:
    found = calls(line)
    assert found, f"no command in {line!r}"
    for arguments in found:
        parse(arguments)
    if page:
        words = page.removesuffix("send-net").split() or ["send"]
        assert any(all(word in arguments for word in words) for arguments in found), page


def test_one_that_is_wrong_is_noticed() -> None:
    for line in (
        "peerpost send --contcat bob x",
        "peerpost queue cancle x",
        "peerpost config path x",
    ):
        with pytest.raises(click.UsageError):
            parse(calls(line)[0])
