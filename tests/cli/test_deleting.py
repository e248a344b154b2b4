"""`peerpost identity delete`: what the keyring keeps goes only once the home is gone."""

from __future__ import annotations

import json

import pytest

from peerpost.client import keyring
from peerpost.errors import LockedError, StorageError

from .conftest import FakeNode, Shell


class Library:
    """The library for the keyring, with one secret."""

    def __init__(self) -> None:
        self.kept = {"0011": "secret"}

    def delete_password(self, _service: str, account: str) -> None:
        del self.kept[account]


def test_the_keyring_forgets_only_what_opens_nothing_any_more(
    node: FakeNode, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library()
    monkeypatch.setattr(keyring, "_library", lambda: library)
    slots = [{"type": "passphrase"}, {"type": "keyring"}]
    keyfile = node.home / "keyfile"
    keyfile.write_text(json.dumps({"id": "0011", "slots": slots}))
    keyfile.chmod(0o600)
    node.answers["identity.show"] = LockedError("the home is locked")
    node.answers["backup.last"] = None
    node.answers["node.status"] = {"state": "locked", "version": "0.1.0"}
    node.answers["doctor"] = []
    node.answers["identity.delete"] = StorageError("the disk is full")
    assert shell("identity", "delete", "--yes").code == 74
    assert library.kept
    node.answers["identity.delete"] = {"deleted": True}
    assert shell("identity", "delete", "--yes").code == 0
    assert not library.kept
