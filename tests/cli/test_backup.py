"""`peerpost backup create`, where the node answers oddly."""

from __future__ import annotations

import json
from pathlib import Path

from peerpost.errors import NoIdentityError

from .conftest import FakeNode, Shell


def test_a_backup_that_is_there_is_no_failure(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    """The node may have been stopped, or its home deleted, since the last byte."""
    secret, file = tmp_path / "secret", tmp_path / "backup"
    secret.write_text("four words make a sentence")
    secret.chmod(0o600)
    node.answers["backup.create"] = {
        "made": "2027-01-15T08:00:00.000Z",
        "made_ms": 1_800_000_000_000,
        "size": 0,
        "files": True,
    }
    node.answers["backup.kept"] = NoIdentityError("there is no identity")
    ran = shell("backup", "create", str(file), "--passphrase-file", str(secret), "--json")
    assert (ran.code, json.loads(ran.out)["path"]) == (0, str(file))
    assert file.exists()
    assert "doctor will not name this backup: there is no identity" in ran.err
