"""Completion in the shells themselves, installed by the lines that the help page shows, with no node running before."""

from __future__ import annotations

import json
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
        "XDG_DATA_HOME": str(person / ".local" / "share"),
        "BASH_COMPLETION_USER_DIR": "",
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "PEERPOST_HOME": str(bob.home),
        "TERM": "dumb",
    }


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _said(env: dict[str, str], *command: str) -> list[str]:
    """Run a command that succeeds; return what it says on stderr."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    return done.stderr.splitlines()


def _run(env: dict[str, str], *command: str, code: int = 0, stderr: str | None = "") -> list[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    done = subprocess.run(
        command, env=env, cwd=env["HOME"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done
    assert stderr is None or done.stderr == stderr, done
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


def _install(env: dict[str, str], shell: str) -> Path:
    """Install it as the command does, twice; return where."""
    states = []
    for _ in range(2):
        done = subprocess.run(
            ["peerpost", "--json", "completion", shell, "--install"],
            env=env, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        states.append(json.loads(done.stdout))
    assert [state["state"] for state in states] == ["new", "unchanged"]
    path = Path(states[0]["path"])
    assert path.is_relative_to(env["HOME"])
    assert path.stat().st_mode & 0o777 == 0o644
    return path


async def test_bash_by_its_own_folder(env: dict[str, str]) -> None:
    path = _install(env, "bash")
    script = f"source {path}\n{BASH.replace('source ~/.bashrc', '')}"
    assert _run(env, "bash", "-c", script, "bash", "peerpost contacts show") == ["alice"]
    # The package bash-completion would read it from there.
    assert path == Path(env["HOME"], ".local/share/bash-completion/completions/peerpost")


async def test_zsh_by_its_own_folder(env: dict[str, str]) -> None:
    path = _install(env, "zsh")
    said = _run(env, "peerpost", "completion", "zsh", "--install", "--quiet", stderr=None)
    assert said == [f"{path}  unchanged"]
    hint = _said(env, "peerpost", "completion", "zsh", "--install")
    (line,) = [line.strip() for line in hint if line.startswith("  fpath")]
    _write(Path(env["HOME"], ".zshrc"), f"{line}\n")
    script = "source ~/.zshrc; print -r -- $_comps[peerpost]; autoload +X _peerpost && print loaded"
    assert _run(env, "zsh", "-f", "-i", "-c", script) == ["_peerpost", "loaded"]
    assert _said(env, "peerpost", "completion", "zsh", "--install") == ["It was there already."]


async def test_fish_by_its_own_folder(env: dict[str, str]) -> None:
    _install(env, "fish")
    assert _run(env, "fish", "-c", "complete -C 'peerpost contacts show '") == ["alice"]


async def test_it_is_not_installed_twice_nor_over_what_is_somebody_elses(
    env: dict[str, str],
) -> None:
    home = Path(env["HOME"])
    (home / ".bashrc").write_text('eval "$(peerpost completion bash)"\n')
    assert _said(env, "peerpost", "completion", "bash", "--install") == ["It was there already."]
    assert not (home / ".local").exists()
    (home / ".bashrc").unlink()
    path = _install(env, "bash")
    # One of an earlier version is renewed.
    path.write_text(path.read_text().replace("compopt", "old"))
    (row,) = _run(env, "peerpost", "completion", "bash", "--install", stderr=None)
    assert row.endswith("updated")
    for kind in ("file", "link", "folder"):
        path.unlink(missing_ok=True)
        if kind == "file":
            path.write_text("complete -W x peerpost\n")
        elif kind == "link":
            (home / "elsewhere").write_text("_PEERPOST_COMPLETE")
            path.symlink_to(home / "elsewhere")
        else:
            path.mkdir()
        _run(env, "peerpost", "completion", "bash", "--install", code=73, stderr=None)
        if kind == "folder":
            path.rmdir()
    path.parent.rmdir()
    path.parent.touch()
    _run(env, "peerpost", "completion", "bash", "--install", code=73, stderr=None)


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
