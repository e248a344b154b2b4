"""`peerpost backup create`: how it tells of its progress, and what it makes of odd answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peerpost.errors import NoIdentityError, UnavailableError, WrongPassphraseError

from .conftest import Events, FakeNode, Shell

MADE = {
    "made": "2026-01-02T03:04:05Z",
    "made_ms": 1,
    "version": 1,
    "size": 20,
    "files": True,
    "entries": 2,
}
STEPS = [{"done_bytes": done, "total_bytes": 20} for done in (0, 10, 20)]


@pytest.fixture
def create(
    node: FakeNode, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Return a command that takes so long that there is progress to tell of."""
    for name in ("LINE_S", "OBJECT_S"):
        monkeypatch.setattr(f"peerpost.cli.progress.{name}", 0.0)
    node.answers |= {
        "identity.show": {},
        "backup.kept": {},
        "backup.create": Events(STEPS, MADE),
    }
    secret = tmp_path / "secret"
    secret.write_text("umber lattice quiver saddle topaz morning\n")
    secret.chmod(0o600)
    return ["backup", "create", str(tmp_path / "n1.bak"), "--passphrase-file", str(secret)]


def test_a_log_gets_no_progress(shell: Shell, create: list[str]) -> None:
    ran = shell(*create)
    assert ran.code == 0, ran
    assert "n1.bak" in ran.out
    assert ran.err.splitlines() == ["Making the backup: its key alone takes a second or more."]


def test_what_is_refused_at_once_is_not_said_to_be_made(
    node: FakeNode, shell: Shell, create: list[str]
) -> None:
    node.answers["backup.create"] = UnavailableError("a backup is being made already")
    ran = shell(*create)
    assert (ran.code, ran.err.splitlines()[0]) == (69, "error: a backup is being made already")
    missing = [*create[:2], "/no/such/folder/x", *create[3:]]
    ran = shell(*missing)
    assert ran.code == 73
    assert ran.err.startswith("error: ")


@pytest.mark.parametrize(("name", "code"), [("alice", 73), ("a b", 2)])
def test_no_keys_are_said_to_be_made_that_are_refused(
    node: FakeNode, shell: Shell, create: list[str], name: str, code: int
) -> None:
    if code == 2:
        (node.home / "keyfile").unlink()
    ran = shell("identity", "new", "--name", name, *create[3:])
    assert ran.code == code
    assert "Making" not in ran.err


def test_quiet_is_silent_but_for_data(shell: Shell, create: list[str]) -> None:
    ran = shell("-q", *create)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    ran = shell("-q", "--json", *create, "--force")
    assert ran.code == 0
    assert json.loads(ran.out)["size"] == 20
    assert ran.err == ""


def test_of_two_passphrases_it_says_which_is_wrong(
    shell: Shell, node: FakeNode, create: list[str]
) -> None:
    node.answers["identity.show"] = WrongPassphraseError("the passphrase is wrong", hint="again")
    ran = shell(*create)
    assert ran.code == 77
    assert ran.err.splitlines()[0] == "error: to unlock the home: the passphrase is wrong"
    assert [method for method, _ in node.asked if method == "backup.create"] == []


def test_a_program_gets_it(shell: Shell, create: list[str]) -> None:
    ran = shell("--json", *create)
    said = [json.loads(line) for line in ran.err.splitlines()]
    assert [row["done_bytes"] for row in said if row.get("event") == "progress"] == [0, 10, 20]


def test_a_backup_that_is_there_is_no_failure(
    node: FakeNode, shell: Shell, tmp_path: Path, create: list[str]
) -> None:
    """The node may have been stopped, or its home deleted, since the last byte."""
    node.answers["backup.kept"] = NoIdentityError("there is no identity")
    ran = shell(*create, "--json")
    assert (ran.code, json.loads(ran.out)["path"]) == (0, str(tmp_path / "n1.bak"))
    assert (tmp_path / "n1.bak").exists()
    assert "doctor will not name this backup: there is no identity" in ran.err
