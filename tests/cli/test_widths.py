"""What is said in whole sentences fits 80 columns: a terminal that breaks a line would break it ragged."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import peerpost.cli

MOST_CHARS = 79


def said(source: str) -> Iterator[str]:
    """Yield the texts of `note` and `warn`, and those of a list or tuple of texts, which are lines of one text."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="note" | "warn"), args=[ast.Constant(value=str(text))]
            ):
                yield text
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                yield from (
                    part.value
                    for part in parts
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )


def test_every_line_fits() -> None:
    folder = Path(peerpost.cli.__file__).parent
    lines = [
        line for path in folder.rglob("*.py") for line in said(path.read_text(encoding="utf-8"))
    ]
    assert any(line.startswith("What stays behind") for line in lines)
    assert any(line.startswith("A backup has a passphrase of its own") for line in lines)
    assert any(line.startswith("Making the backup") for line in lines)
    assert [line for line in lines if len(line) > MOST_CHARS] == []
