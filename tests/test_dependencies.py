"""What is declared is used, and what is used is declared."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def normal(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = set()
    extras = settings["project"]["optional-dependencies"].values()
    for requirement in sum(extras, settings["project"]["dependencies"]):
        match = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert match is not None
        if "sys_platform != 'win32'" not in requirement or sys.platform != "win32":
            names.add(normal(match[0]))
    return names


def imported() -> set[str]:
    """Return the distributions that our sources import, by the modules they bring."""
    found = set()
    for folder in ("messenger", "cli", "fastpath"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    found -= {"peerpost", *sys.stdlib_module_names}
    brings = packages_distributions()
    return {normal(brings[module][0]) for module in found if module in brings}


@pytest.mark.slow
def test_dependencies() -> None:
    assert imported() - declared() == set()
    assert declared() - imported() == set()
