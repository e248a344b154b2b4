"""A passphrase by each of its sources, at the command line as a person, a script and a service use it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.nodes import Friend
from tests.support.protected import PASSPHRASE, Protected
from tests.support.terminal import with_answers

pytestmark = pytest.mark.asyncio

BACKEND = """
import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend

FILE = Path(os.environ["KEYRING_IN"])


class Kept(KeyringBackend):
    priority = 1

    def _all(self):
        return json.loads(FILE.read_text()) if FILE.exists() else {}

    def get_password(self, service, username):
        return self._all().get(f"{service} {username}")

    def set_password(self, service, username, password):
        FILE.write_text(json.dumps({**self._all(), f"{service} {username}": password}))

    def delete_password(self, service, username):
        left = self._all()
        del left[f"{service} {username}"]
        FILE.write_text(json.dumps(left))
"""


@pytest.fixture
def alice(folder: Path) -> Protected:
    return Protected("alice", folder)


def kept_in(folder: Path, text: str = f"{PASSPHRASE}\n", mode: int = 0o600) -> str:
    file = folder / "passphrase"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return str(file)


async def new(one: Friend, file: str) -> None:
    """Make a home with a passphrase, and lock it."""
    made = await one.cli("identity", "new", "--passphrase-file", file, "--no-recovery-code")
    assert "recovery_code" not in made.row
    assert made.row["protected"] is True
    await one.cli("identity", "lock")


def command(one: Friend, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "peerpost.cli", "--home", str(one.home), *arguments]


def each(*answers: str) -> Callable[[str], str | None]:
    """Answer one question after another, each of which ends in a colon."""
    left = list(answers)

    def answer(shown: str) -> str | None:
        return left.pop(0) if shown.rstrip(" ").endswith(":") and left else None

    return answer


async def test_each_source_unlocks(
    alice: Protected, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = kept_in(folder)
    await new(alice, file)

    async def unlocked(*arguments: str, code: int = 0, stdin: bytes | None = None) -> None:
        done = await alice.cli("identity", "unlock", *arguments, stdin=stdin, code=code)
        await alice.cli("contacts", "list", code=77 if code else 0)
        if code == 0:
            assert done.row["was_locked"], arguments
            await alice.cli("identity", "lock")

    await unlocked("--passphrase-file", file)
    await unlocked("--passphrase-file", "-", stdin=PASSPHRASE.encode())
    await unlocked("--passphrase-stdin", stdin=f"{PASSPHRASE}\n".encode())
    await unlocked("--passphrase-fd", "0", stdin=PASSPHRASE.encode())
    by_fd = ["bash", "-c", f'exec "$@" 5< {file}', "bash"]
    await alice.cli("identity", "unlock", "--passphrase-fd", "5", wrap=by_fd)
    await alice.cli("identity", "lock")
    await unlocked(code=77)
    for number in ("3", "4", "5", "6"):  # Nothing is open there but what the command itself opens.
        await unlocked("--passphrase-fd", number, code=66)

    # The variable: any command, and a source that is named goes before it.
    monkeypatch.setenv("PEERPOST_PASSPHRASE", PASSPHRASE)
    assert (await alice.cli("contacts", "list")).rows == []
    await alice.cli("identity", "lock")
    wrong = kept_in(folder, "another one altogether")
    done = await alice.cli("identity", "unlock", "--passphrase-file", wrong, code=77)
    assert done.error["code"] == "wrong_passphrase"
    wrong = kept_in(folder, "another one altogether", 0o644)
    done = await alice.cli("identity", "unlock", "--passphrase-file", wrong, code=77)
    assert "chmod 600" in done.error["hint"]
    monkeypatch.setenv("PEERPOST_PASSPHRASE", "another one altogether")
    await alice.cli("contacts", "list", code=77)
    file = kept_in(folder)
    await alice.cli("identity", "unlock", "--passphrase-file", file)
    await alice.cli("node", "stop")


async def test_node_start_and_node_run_take_it(alice: Protected, folder: Path) -> None:
    file = kept_in(folder)
    await new(alice, file)
    await alice.cli("node", "stop")
    started = await alice.cli("node", "start", "--passphrase-file", file)
    assert started.row["state"] == "running"
    await alice.cli("node", "stop")
    started = await alice.cli("node", "start")
    assert started.row["state"] == "locked"
    await alice.cli("node", "stop")
    node = await alice.run_node("--passphrase-file", file)
    assert (await alice.ask("node.status"))["state"] == "running"
    node.terminate()
    assert await node.wait() == 143
    node = await alice.run_node()
    assert (await alice.ask("node.status"))["state"] == "locked"
    node.terminate()
    await node.wait()
    wrong = kept_in(folder, "another one altogether")
    refused = await alice.cli("node", "run", "--passphrase-file", wrong, code=77)
    assert refused.error["code"] == "wrong_passphrase"


async def test_the_keyring_of_the_system(
    alice: Protected, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "backend.py").write_text(BACKEND, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("KEYRING_IN", str(folder / "keyring.json"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "backend.Kept")
    file = kept_in(folder)
    await new(alice, file)
    await alice.cli("contacts", "list", code=77)
    await alice.cli("identity", "keyring", code=77)
    assert (await alice.cli("identity", "keyring", "--passphrase-file", file)).row["keyring"]
    assert (await alice.cli("contacts", "list")).rows == []
    await alice.cli("identity", "lock")
    kept = (folder / "keyring.json").read_text(encoding="utf-8")
    assert PASSPHRASE not in kept
    # What is there fits no more: the next source is asked.
    (folder / "keyring.json").write_text(kept.replace('": "', '": "00'), encoding="utf-8")
    refused = await alice.cli("contacts", "list", code=77)
    assert "keyring" in refused.err
    monkeypatch.setenv("PEERPOST_PASSPHRASE", PASSPHRASE)
    await alice.cli("contacts", "list")
    monkeypatch.delenv("PEERPOST_PASSPHRASE")
    await alice.cli("identity", "keyring", "--passphrase-file", file)
    await alice.cli("identity", "lock")
    await alice.cli("identity", "keyring", "--forget")
    assert (folder / "keyring.json").read_text(encoding="utf-8") == "{}"
    await alice.cli("contacts", "list", code=77)


async def test_a_newcomer_at_a_terminal(alice: Protected) -> None:
    """All that is asked for, and that nothing of it is shown."""

    def suggested(shown: str) -> str | None:
        if not shown.rstrip(" ").endswith(":"):
            return None
        offered = [line.strip() for line in shown.splitlines() if line.startswith("    ")]
        return offered[-1] if offered else ""

    made = await asyncio.to_thread(
        with_answers, command(alice, "identity", "new", "--name", "alice"), suggested
    )
    code, shown = made
    assert code == 0, shown
    (passphrase,) = [line.strip() for line in shown.splitlines() if line.startswith("    ")]
    assert len(passphrase.split()) == 6
    assert shown.count(passphrase) == 1, "what is typed is not shown"
    assert "strong" in shown
    assert "recovery code" in shown
    await alice.cli("identity", "lock")
    contacts = command(alice, "contacts", "list")
    code, shown = await asyncio.to_thread(with_answers, contacts, each("wr0ng", passphrase))
    assert code == 0, shown
    assert "wrong. Try again" in shown
    assert "No contacts yet" in shown
    assert passphrase not in shown
    assert "wr0ng" not in shown
    await alice.cli("identity", "lock")
    code, shown = await asyncio.to_thread(with_answers, contacts, each("no", "nor", "not"))
    assert code == 77, shown
    assert shown.count("Passphrase or recovery code of") == 3
    code, shown = await asyncio.to_thread(with_answers, contacts, each("\x03"))
    assert code == 130, shown
    assert "Traceback" not in shown
    await alice.cli("node", "stop")
    code, shown = await asyncio.to_thread(
        with_answers, command(alice, "node", "start"), each(passphrase)
    )
    assert code == 0, shown
    assert "running" in shown


async def test_a_passphrase_is_chosen_by_a_person(alice: Protected) -> None:
    chosen = "grüne lampe unter neun booten"
    code, shown = await asyncio.to_thread(
        with_answers,
        command(alice, "identity", "new"),
        each("hunter2", chosen, "mistyped", chosen, chosen),
    )
    assert code == 0, shown
    assert "weak (" in shown
    assert "not the same" in shown
    assert chosen not in shown
    await alice.cli("identity", "lock")
    # Typed on a keyboard that makes the umlaut of two characters.
    decomposed = chosen.replace("ü", "u\u0308").encode()
    await alice.cli("identity", "unlock", "--passphrase-stdin", stdin=decomposed)
