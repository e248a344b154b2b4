"""Received files lie under ids of ours: what a peer chooses names nothing on the disk."""

from __future__ import annotations

from pathlib import Path

from peerpost.store.tables import blobs, deletion, inbox, transfers
from peerpost.wire import inner as wire
from tests.support.store_rig import NOW_MS, Rig, message, offer

FILE = bytes([7]) * 16


def incoming(rig: Rig, contact_id: str) -> transfers.Transfer:
    made = message(1, kind=wire.Kind.OFFER, body=offer(FILE), outbox_id=bytes([3]) * 16, lane=1)
    rig.write(inbox.receive_many, contact_id, [made], NOW_MS)
    row = rig.read(transfers.get, contact_id, FILE, incoming=True)
    assert row is not None
    return row


def test_two_contacts_who_offer_one_id_have_a_file_each(rig: Rig, tmp_path: Path) -> None:
    rows = [incoming(rig, rig.make_contact(name).id) for name in ("bob", "mallory")]
    assert len({blobs.path(tmp_path, row, ".sealed") for row in rows}) == 2
    for row in rows:
        blobs.path(tmp_path, row, ".sealed").touch()
    blobs.discard(tmp_path, rows[1])
    assert blobs.path(tmp_path, rows[0], ".sealed").exists()


def test_a_start_renames_what_is_named_and_removes_what_is_not(rig: Rig, tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    folder.mkdir()
    row = incoming(rig, rig.make_contact("bob").id)
    (folder / f"{FILE.hex()}.part").write_text("part")
    (folder / f"{FILE.hex()}.leaves").touch()
    (folder / "aaaaaaaa.part").touch()
    blobs.sweep(folder, rig.read(deletion.kept_files))
    assert {path.name for path in folder.iterdir()} == {f"{row.id}.part", f"{row.id}.leaves"}
    rig.write(transfers.set_state, row.id, "failed", "why")
    blobs.sweep(folder, rig.read(deletion.kept_files))
    assert list(folder.iterdir()) == []
