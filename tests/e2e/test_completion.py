"""Completion in the shells themselves, installed by the lines that the help page shows, with no node running before."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.nodes import Friend

pytestmark = pytest.mark.asyncio

LINES = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8").splitlines()


def _install_line(shell: str) -> str:
    (line,) = [line.strip() for line in LINES if line.startswith("    ") and f"ion {shell}" in line]
    return line


@pytest_asyncio.fixture
async def env(pair: tuple[Friend, Friend], folder: Path) -> AsyncIterator[dict[str, str]]:
    """Bob's environment: a text from Alice is in his inbox, one is queued for her, and his node is down."""
    alice, bob = pair
    sent = (await alice.cli("send-net", "--contact", "bob", "the \x1b[31mbuild, is green")).row
    await alice.delivered(sent["id"])
    await alice.stop()
    await bob.cli("send-net", "--contact", "alice", "waits")
    await bob.stop()
    person = folder / "person"
    person.mkdir()
    (person / "report one.pdf").touch()
    binaries = person / "bin"
    binaries.mkdir()
    (binaries / "peerpost").write_text(f'#!/bin/sh\nexec {sys.executable} -m peerpost.cli "$@"\n')
    (binaries / "peerpost").chmod(0o755)
    yield os.environ | {
        "HOME": str(person),
        "ZDOTDIR": str(person),
        "XDG_CONFIG_HOME": str(person / ".config"),
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "PEERPOST_HOME": str(bob.home),
        "TERM": "dumb",
    }


def _run(env: dict[str, str], *command: str) -> list[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    done = subprocess.run(
        command, env=env, cwd=env["HOME"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()


BASH = """
source ~/.bashrc
for words in "$@"; do
    COMP_WORDS=($words "") COMP_CWORD=$(set -- $words; echo $#) COMPREPLY=()
    compopt() { COMPREPLY+=("$2"); }
    $(complete -p peerpost | sed 's/.*-F \\([^ ]*\\).*/\\1/') peerpost
    echo "${COMPREPLY[*]}"
done
"""


async def test_bash(env: dict[str, str]) -> None:
    _run(env, "bash", "-c", _install_line("bash"))
    offered = _run(
        env,
        *("bash", "-c", BASH, "bash"),
        *("peerpost contacts show", "peerpost inbox show", "peerpost queue cancel"),
        *("peerpost send --contact alice --file", "peerpost send --contact alice --file a"),
        *("peerpost inbox save x --out", "peerpost contacts add alice --ticket-file"),
    )
    contacts, ids, queued, files, more, out, ticket = offered
    assert contacts == "alice"
    assert len(ids) == len(queued) == 8
    assert ids != queued
    assert {files, more, out, ticket} == {"default"}


async def test_zsh(env: dict[str, str]) -> None:
    _run(env, "zsh", "-c", _install_line("zsh"))
    script = "source ~/.zshrc; print -r -- $_comps[peerpost]; print -r -- ${+functions[_peerpost_completion]}"
    assert _run(env, "zsh", "-f", "-i", "-c", script) == ["_peerpost_completion", "1"]
    offered = """
        source ~/.zshrc
        _describe() { print -rl -- "${(P@)3}" }
        compadd() { print -rl -- compadd }
        _path_files() { print -rl -- files }
        for line in "peerpost inbox show" "peerpost send --contact alice --file"; do
            words=(${=line} "") CURRENT=$(( ${#words} ))
            _peerpost_completion
        done
    """
    about, files = _run(env, "zsh", "-f", "-i", "-c", offered)
    assert "alice  the <U+001B>[31mbuild; is green" in about
    assert files == "files"


async def test_fish(env: dict[str, str]) -> None:
    _run(env, "fish", "-c", _install_line("fish"))

    def complete(line: str) -> list[str]:
        return _run(env, "fish", "-c", f"complete -C '{line}'")

    assert complete("peerpost contacts show ") == ["alice"]
    (item,) = complete("peerpost inbox show ")
    assert item.endswith("\talice  the <U+001B>[31mbuild; is green")
    assert "report one.pdf" in complete("peerpost send --contact alice --file rep")
