"""docs/cli.md names every command with all its options, and every exit code."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import click
import pytest

from peerpost import errors
from peerpost.cli.app import App
from peerpost.cli.main import COMMANDS, PIPE_CLOSED, root
from peerpost.stopping import WORDS

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))


def commands() -> list[tuple[str, click.Command]]:
    context = click.Context(root, obj=App())
    found: list[tuple[str, click.Command]] = []
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found.extend((f"{name} {sub}", inner) for sub, inner in command.commands.items())
        else:
            found.append((name, command))
    return found


def section(path: str) -> str:
    """Return the part of the page that is about a command."""
    (text,) = [
        text
        for head, text in SECTIONS.items()
        if re.search(rf"`peerpost {path}(?![a-z-])", text) and head != "Rules"
    ]
    return text


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(*found, id=found[0]) for found in commands()]
)
def test_a_command_is_named_with_its_options(path: str, command: click.Command) -> None:
    about = section(path)
    shown = about[re.search(rf"`peerpost {path}(?![a-z-])", about).start() :]  # type: ignore[union-attr]
    # Those of a group share a section: what stands before the next command is this one's.
    if " " in path:
        shown = re.split(r"^\*\*`peerpost (?!" + path + r"(?![a-z-]))", shown, flags=re.MULTILINE)[
            0
        ]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            (name,) = [name for name in parameter.opts if name.startswith("--")]
            assert re.search(rf"{name}(?![a-z-])", shown), name


def test_no_command_is_named_that_does_not_exist() -> None:
    paths = {path for path, _ in commands()}
    for named in re.findall(r"`peerpost ([a-z][a-z -]*[a-z])", TEXT):
        assert any(f"{named} ".startswith(f"{path} ") for path in paths), named


def test_the_global_options_are_named() -> None:
    for option in root.get_params(root.make_context("peerpost", [], resilient_parsing=True)):
        assert any(f"`{name}" in SECTIONS["Global options"] for name in option.opts), option.opts


def test_every_error_has_its_row() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| .+? \|(.*)\|$", SECTIONS["Exit codes"], re.MULTILINE)
    codes = {int(code): set(re.findall("`([a-z_]+)`", words)) for numbers, words in rows
             for code in numbers.split(", ")}  # fmt: skip
    for name in errors.__all__:
        class_ = getattr(errors, name)
        assert class_.code in codes[class_.exit_code], name
    assert {0, PIPE_CLOSED} <= set(codes)
    for name, word in WORDS.items():
        assert word in codes[128 + getattr(signal, name)]


def test_every_logger_lies_under_one_that_is_named() -> None:
    named = set(re.findall(r"`(peerpost(?:\.\w+)+)`", SECTIONS["log"]))
    root = Path(__file__).parents[2] / "messenger"
    folders = {
        ".".join(["peerpost", *path.relative_to(root).parts[:-1][:2]])
        for path in root.rglob("*.py")
        if "getLogger(__name__)" in path.read_text() and "demo" not in path.parts
    }
    assert len(folders) >= 5
    for folder in folders:
        assert folder in named or folder.rpartition(".")[0] in named, folder
