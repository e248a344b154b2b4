"""What is no ASCII, in a locale that knows ASCII alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ENTRY, FakeNode

LOCALES = [
    {"LC_ALL": "C", "PYTHONUTF8": "0"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
    {"LC_CTYPE": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C"},
]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
@pytest.mark.parametrize("locale", LOCALES, ids=" ".join)
def test_a_text_and_a_name_in_utf8(node: FakeNode, tmp_path: Path, locale: dict[str, str]) -> None:
    row = {"id": "k3f9", "contact": "bob", "kind": "text", "size": 8, "preview": "größer"}
    row |= {"received_at": "2026-01-01T00:00:00.000Z", "unread": True}
    node.answers |= {"send-net": ENTRY, "inbox.list": [row]}
    (tmp_path / "Maß.txt").write_text("x")
    env = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "peerpost.cli", "--home", str(node.home), *words]
        done = subprocess.run(
            command,
            env={**env, "LANG": "", **locale},
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    run("send", "-c", "Jürgen", "Grüße")
    assert (node.params["contact"], node.params["text"]) == ("Jürgen", "Grüße")
    run("send", "-c", "Jürgen", "--file", "Maß.txt")
    assert node.params["file"]["name"] == "Maß.txt"
    shown = run("inbox", "list")
    assert "größer" in shown or "gr\\xf6\\xdfer" in shown
