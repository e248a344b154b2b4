"""A log that names nobody: a line is its template and its numbers."""

from __future__ import annotations

import ast
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from peerpost.client import logfile
from peerpost.client.logfile import LogFile
from peerpost.node import logs

SOURCE = Path(__file__).parents[3] / "messenger"


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    path = tmp_path / "node.log"
    with path.open("wb") as file:
        logs.setup("debug", "text", LogFile(path, file.fileno(), limit_bytes=1 << 20, kept=1))
        yield path
    root.handlers[:] = kept
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_words_are_left_out_while_it_is_discreet(path: Path) -> None:
    log = logging.getLogger("peerpost.some")
    log.info("%s is %s after %d s", "bartholomew", "online", 5)
    assert not logs.is_discreet()
    logs.keep_discreet(discreet=True)
    assert logs.is_discreet()
    before = path.read_text(encoding="utf-8")
    assert "bartholomew is online after 5 s" in before
    log.info("%s is %s after %d s, %.1f%%", "bartholomew", Path("/ip4/1.2.3.4"), 5, 0.5)
    log.warning("%(who)s again", {"who": "bartholomew"})
    log.info("%s was stopped: %s", "bartholomew", logs.Reason("asked to"))
    log.info("nothing to leave out: 100%")
    for _ in range(100):
        log.info("turned away %s", "bartholomew")
    try:
        raise ValueError("bartholomew")
    except ValueError:
        log.exception("failed with %s", "bartholomew")
    after = path.read_text(encoding="utf-8").removeprefix(before)
    assert "bartholomew" not in after
    assert "1.2.3.4" not in after
    assert "... is ... after 5 s, 0.5%" in after
    assert "... was stopped: asked to" in after
    assert "nothing to leave out: 100%" in after
    assert "failed with ... (ValueError)" in after
    logs.keep_discreet(discreet=False)
    log.info("%s is back", "bartholomew")
    assert "bartholomew is back" in path.read_text(encoding="utf-8")


def test_each_file_that_has_words_says_so_and_no_other(path: Path) -> None:
    """So it is known later which logs are of the time before there was a passphrase."""
    log = logging.getLogger("peerpost.some")
    log.info("begins")
    assert logfile.in_clear(path) == []
    logs.keep_discreet(discreet=False)
    logs.keep_discreet(discreet=False)
    assert logfile.in_clear(path) == [path]
    assert path.read_text(encoding="utf-8").count(logfile.NAMES_CONTACTS) == 1
    for number in range(40):
        log.info("%s: %d %s", "bartholomew", number, "x" * (1 << 16))
        log.info(f"%s {number}", "x" * (1 << 16))
    rotated = path.with_name("node.log.1")
    assert logfile.in_clear(path) == [path, rotated]
    logs.keep_discreet(discreet=True)
    path.unlink()
    rotated.unlink()
    path.write_bytes(b"peerpost: ready\n")
    log.info("%s", "bartholomew")
    assert logfile.in_clear(path) == []
    path.write_bytes(b"peerpost: ready as 12D3KooW, listening on /ip4/1.2.3.4/tcp/1\n")
    assert logfile.in_clear(path) == [path], "one of an earlier version"
    path.write_bytes(b"")
    os.mkfifo(path.with_name("node.log.2"))
    assert logfile.in_clear(path) == []


def test_a_reason_is_made_of_words_of_our_own() -> None:
    """One that is given would take a name into a discreet log."""
    ours = {"name", "signal.Signals(number).name", "type(error).code"}
    found = [
        argument
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Reason", "logs.Reason")
        for argument in node.args
    ]
    assert len(found) > 5
    assert {ast.unparse(one) for one in found if not isinstance(one, ast.Constant)} == ours


def test_every_line_has_a_template() -> None:
    """What is put together before it is logged could not be taken apart."""
    calls = 0
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            names = {"debug", "info", "warning", "error", "critical", "exception"}
            if node.func.attr in names and isinstance(owner, ast.Name) and owner.id == "log":
                calls += 1
                first = node.args[0]
                assert isinstance(first, ast.Constant), f"{path}:{node.lineno}"
    assert calls > 50
