"""docs/backup.md: its commands copy a home and put it back, as they stand."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.machines import Machine, blocks

NOBODY = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDoAjwXNPQhKAxPgVaxMhAr34X9SgodshFg5LicSnqAEm"
PAGE = Path(__file__).parents[2] / "docs" / "backup.md"


def test_a_home_is_copied_and_put_back_by_these_commands(folder: Path) -> None:
    alice = Machine(folder, "alice")
    home = alice.home / ".local" / "share" / "peerpost"
    try:
        alice.bash("peerpost identity new --name alice --no-passphrase")
        alice.bash(f"peerpost contacts add bob --id {'1' * 64} --address {NOBODY}")
        alice.bash("peerpost send --contact bob 'before the copy'")
        me = json.loads(alice.bash("peerpost --json identity show"))
        _, _, copy, put_back = blocks(PAGE)
        alice.run(copy)
        alice.bash("peerpost send --contact bob 'after the copy'")
        alice.run(put_back)
        first, *_ = alice.bash("peerpost --json doctor").splitlines()
        assert (json.loads(first)["check"], json.loads(first)["found"]) == ("home", str(home))
        queued = alice.bash("peerpost queue list")
        assert "before the copy" in queued
        assert "after the copy" not in queued
        assert json.loads(alice.bash("peerpost --json identity show"))["id"] == me["id"]
        assert (home.with_name("peerpost-before") / "store.db").exists()
    finally:
        alice.bash("peerpost node stop || true")


def test_a_backup_is_made_and_put_back_by_these_commands(folder: Path) -> None:
    alice = Machine(folder, "alice")
    home = alice.home / ".local" / "share" / "peerpost"
    # On a terminal it is asked for.
    secret = alice.home / "secret"
    given = f"~/peerpost-backup --passphrase-file {secret}"
    try:
        alice.bash("peerpost identity new --name alice --no-passphrase")
        secret.write_text("umber lattice quiver saddle topaz morning\n")
        secret.chmod(0o600)
        alice.bash(f"peerpost contacts add bob --id {'1' * 64} --address {NOBODY}")
        alice.bash("peerpost send --contact bob 'before the backup'")
        create, restore, *_ = blocks(PAGE)
        alice.bash(create.text.replace("~/peerpost-backup", given))
        alice.bash("peerpost send --contact bob 'after the backup'")
        alice.bash(restore.text.replace("~/peerpost-backup", given))
        queued = alice.bash("peerpost queue list")
        assert "before the backup" in queued
        assert "after the backup" not in queued
        assert (home.with_name("peerpost-before") / "store.db").exists()
    finally:
        alice.bash("peerpost node stop || true")
