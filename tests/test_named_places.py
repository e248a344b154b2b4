"""Comments, docstrings and documents name only files, folders and modules that exist."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("bench", "cli", "docs", "fastpath", "messenger", "tests", "wheels")
READ = {".py", ".md", ".toml", ".pyx", ".pxd", ".c", ".h"}
STARTS = ("", "messenger", "messenger/node", "messenger/store", "messenger/net", "tests")
"""Where a path may begin: a text in store/ says `db/schema`."""
INNER = "contact|control|db|demo|files|mux|node|session|store|support|tables|tcp"
PATH = re.compile(
    rf"(?<![\w/.~$-])((?:{'|'.join(FOLDERS)}|client|crypto|net|protocol|wire|{INNER})/[\w./-]*)"
)
FILE = re.compile(r"(?<![\w/.*-])([a-z_]\w*\.(?:py|md|sql|toml|pyx|mjs))\b")
MODULE = re.compile(r"\bpeerpost((?:\.\w+)+)")
EXAMPLES = {"config.toml", "shop.sql", "wheels/built"}
"""What lies in a home, is somebody's own, or is made by a build."""


def sources() -> list[Path]:
    """Return every file of the project; what was released and then moved may stand in CHANGELOG.md."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.name != "CHANGELOG.md"]
    for folder in FOLDERS:
        found += (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return sorted(path for path in found if not {"build", "node_modules"} & set(path.parts))


SOURCES = sources()
KNOWN = {path.name for path in SOURCES}


def prose(path: Path) -> str:
    """Return what people read in a file: all of it, or of Python its comments and docstrings."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join(
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT or token.string.lstrip("rR").startswith('"""')
    )


def is_there(place: str) -> bool:
    """Tell whether a file or folder exists; a module may leave out its ending."""
    place = place.rstrip("/.")
    found = (ROOT / start / f"{place}{end}" for start in STARTS for end in ("", ".py"))
    return place in EXAMPLES or any(path.exists() for path in found)


def is_module(dotted: str) -> bool:
    """Tell whether a module exists, and what is named in it."""
    first, *rest = dotted.strip(".").split(".")
    place = ROOT / first if first in {"cli", "fastpath"} else ROOT / "messenger" / first
    while rest and place.is_dir():
        place, rest = place / rest[0], rest[1:]
    if place.is_dir() or place.with_suffix(".pyx").is_file():
        return True
    file = place.with_suffix(".py")
    if not file.is_file():
        file, rest = place.with_name("__init__.py"), [place.name]
    return file.is_file() and all(name in file.read_text(encoding="utf-8") for name in rest[:1])


def gone(text: str) -> Iterator[str]:
    """Yield what a text names and is not there; NAME in capitals stands for any name."""
    yield from (p for p in PATH.findall(text) if not re.search("[A-Z]{4}", p) and not is_there(p))
    yield from (f for f in FILE.findall(text) if f not in KNOWN | EXAMPLES)
    yield from (
        m
        for m in MODULE.findall(text)
        if not re.search("[A-Z]{4}", m) and m != ".fish" and not is_module(m)
    )


@pytest.mark.slow
def test_every_place_that_is_named_exists() -> None:
    found = {}
    for path in SOURCES:
        if path.suffix in READ and path != Path(__file__) and not path.match("docs/jobs/*"):
            missing = sorted(set(gone(prose(path))))
            if missing:
                found[path.relative_to(ROOT).as_posix()] = missing
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "see node/client.py",
        "as `node/commands` does",
        "messenger/net/muxed.py",
        "the table of store/outbox",
        "peerpost.node.streams reads it",
        "peerpost.node.files.pipes.Streams",
        "names.py and file_queue.py",
    ],
)
def test_a_place_that_is_gone_is_noticed(text: str) -> None:
    assert len(list(gone(text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "see node/control/methods, net/ and store/db/schema/0001.sql",
        "peerpost.node.files.pipes.Pipes, peerpost.fastpath and peerpost.client",
        "bench/bench_NAME.py; either/or; https://example.com/net/x",
    ],
)
def test_a_place_that_is_there_is_not(text: str) -> None:
    assert list(gone(text)) == []
