"""docs/architecture.md: its diagrams are current, and what it names as a file and a function exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from docs import diagrams

ROOT = Path(__file__).parents[1]
TEXT = diagrams.PAGE.read_text(encoding="utf-8")
ROW = re.compile(r"^\|(?: [^|]* \|)? `([\w/.]+\.py)` \| `([\w.]+)` \|", re.MULTILINE)
"""A row of a table with a file and a name in it, after at most one cell of words."""
PLACE = re.compile(r"`([\w.]+/[\w/.]*)`")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))


def named(tree: ast.Module) -> set[str]:
    """Return the functions, classes, methods and constants of a module, methods as Class.method."""
    found = set[str]()
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            found |= {
                f"{node.name}.{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return found


def missing(text: str) -> list[str]:
    """Return the files and names of a page that are not there."""
    found = []
    for path, name in ROW.findall(text):
        file = ROOT / path
        if not file.is_file():
            found.append(path)
        elif name not in named(ast.parse(file.read_text(encoding="utf-8"))):
            found.append(f"{path}: {name}")
    return found + [
        place
        for place in PLACE.findall(text)
        if not (ROOT / place).exists() and not (ROOT / "messenger" / place).exists()
    ]


def test_its_diagrams_are_current() -> None:
    assert diagrams.render(TEXT) == TEXT, "python3 dev.py diagrams"
    assert set(re.findall(r"<!-- made: (\w+) -->", TEXT)) == set(diagrams.PARTS)


def test_an_old_diagram_is_noticed() -> None:
    old = TEXT.replace("    queued --> sent\n", "")
    assert old != TEXT
    assert diagrams.render(old) == TEXT


@pytest.mark.slow
def test_every_file_and_function_that_it_names_exists() -> None:
    assert missing(TEXT) == []


@pytest.mark.parametrize(
    "row",
    [
        "| `messenger/wire/gone.py` | `decode` | reads |",
        "| `messenger/wire/ticket.py` | `Ticket.gone` | reads |",
        "| Where? | `messenger/wire/ticket.py` | `gone` |",
        "its line in `docs/gone.md`",
        "a file in `messenger/gone/`",
    ],
)
def test_what_is_gone_is_noticed(row: str) -> None:
    assert len(missing(row)) >= 1


@pytest.mark.parametrize("section", [name for name in SECTIONS if name.startswith("The way")])
def test_a_way_is_followed_file_by_file(section: str) -> None:
    steps = [row for row in SECTIONS[section].splitlines() if row.startswith("| `")]
    assert len(steps) >= 14
    assert len(ROW.findall(SECTIONS[section])) == len(steps)


def test_ten_questions_are_answered_by_a_path_each() -> None:
    rows = [row for row in SECTIONS["Ten questions"].splitlines() if "?" in row]
    assert len(rows) == 10
    assert len(ROW.findall(SECTIONS["Ten questions"])) == 10
