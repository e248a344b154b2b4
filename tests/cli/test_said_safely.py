"""Whatever is printed goes through `Terminal`, made safe before: the command line has no other way out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import peerpost.cli

CLI = Path(peerpost.cli.__file__).parent
ALLOWED = {
    "print": {"terminal.py"},
    # Says that text is safe which was put together from safe parts.
    "SafeText": {"safe.py", "terminal.py", "marked.py", "block.py"},
    # Unfiltered: QR codes and scripts for shells, which have nothing in them that was received.
    "drawing": {"commands/invites.py", "commands/completion.py"},
    # Rich, whose lines get what `safe` has returned.
    "Console": {"progress.py"},
    "getpass": {"passphrases.py"},
    # Passed on byte by byte to what is no terminal (`raw_on_terminal`), or asked about.
    "fileno of stdout": {
        *("saving.py", "output.py", "app.py"),
        *("commands/backup.py", "commands/reading.py", "commands/rpc.py"),
    },
    # To files and pipes of our own, and what is said of a signal before anything is loaded.
    "os.write": {"unlocking.py", "entry.py", "piped.py"},
    "write of a stream": set[str](),
    "echo": set[str](),
}
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def is_stream(node: ast.expr) -> bool:
    """Return whether it is sys.stdout or sys.stderr, or their buffer."""
    if isinstance(node, ast.Attribute) and node.attr == "buffer":
        return is_stream(node.value)
    return isinstance(node, ast.Attribute) and node.attr in STREAMS


def ways_out(tree: ast.AST) -> Iterator[str]:
    """Yield which ways of printing a source uses, by the names in ALLOWED."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                yield "print"
            case (
                ast.Call(func=ast.Name(id="SafeText"))
                | ast.Call(func=ast.Attribute(attr="SafeText"))
            ):
                yield "SafeText"
            case ast.Call(func=ast.Attribute(attr="drawing")):
                yield "drawing"
            case ast.Call(func=ast.Name(id="Console") | ast.Attribute(attr="Console")):
                yield "Console"
            case ast.Call(func=ast.Name(id="getpass") | ast.Attribute(attr="getpass")):
                yield "getpass"
            case ast.Call(func=ast.Attribute(attr="fileno", value=value)) if is_stream(
                value
            ) and ast.unparse(value).endswith("stdout"):
                yield "fileno of stdout"
            case ast.Call(func=ast.Attribute(attr="write" | "writelines", value=value)) if (
                is_stream(value)
            ):
                yield "write of a stream"
            case ast.Call(func=ast.Attribute(attr="write", value=ast.Name(id="os"))):
                yield "os.write"
            case ast.Attribute(attr="echo" | "secho" | "echo_via_pager" | "style"):
                yield "echo"
            case ast.ImportFrom(module="click", names=names) if {"echo", "secho"} & {
                name.name for name in names
            }:
                yield "echo"


def found() -> set[tuple[str, str]]:
    return {
        (way, path.relative_to(CLI).as_posix())
        for path in CLI.rglob("*.py")
        for way in ways_out(ast.parse(path.read_text(encoding="utf-8")))
    }


def test_there_is_no_other_way_out() -> None:
    allowed = {(way, name) for way, names in ALLOWED.items() for name in names}
    assert found() - allowed == set()
    assert {way for way, _ in found()} >= {"print", "SafeText", "drawing", "Console", "os.write"}


@pytest.mark.parametrize(
    ("way", "source"),
    [
        ("print", "print(row['body'])"),
        ("echo", "import click\nclick.echo(body)"),
        ("echo", "from click import echo"),
        ("write of a stream", "sys.stdout.buffer.write(body)"),
        ("write of a stream", "sys.stderr.write(body)"),
        ("SafeText", "terminal._data(SafeText(body))"),
        ("os.write", "os.write(1, body)"),
        ("fileno of stdout", "sys.stdout.fileno()"),
    ],
)
def test_each_way_is_noticed(way: str, source: str) -> None:
    assert way in set(ways_out(ast.parse(source)))


def test_what_is_printed_has_the_type_of_safe_text() -> None:
    """With mypy, this is what makes it impossible to print anything else."""
    tree = ast.parse((CLI / "terminal.py").read_text(encoding="utf-8"))
    printing = {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name in {"_data", "_write", "_say", "_print"}
    }
    assert len(printing) == 4
    for node in printing.values():
        given = [*node.args.args, *([node.args.vararg] if node.args.vararg else [])]
        types = {ast.unparse(arg.annotation) for arg in given if arg.annotation}
        assert "SafeText" in types
        assert types <= {"SafeText", "TextIO"}
