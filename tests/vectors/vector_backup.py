"""Backups: the container, and what is in it (docs/design.md, "Backups")."""

from __future__ import annotations

from vector_people import Case, case, flip, seed

from peerpost.crypto.container import ContainerSealer, Opening
from peerpost.crypto.passphrase import Cost, derive
from peerpost.store.files.backup import BackupWriter, Manifest

PASSPHRASE = "six words that nobody else has"
COST = Cost(8, 1, 1)
"""As cheap as argon2id can be, so that a test takes no time; a backup that is made costs a second."""


def made(contents: dict[str, bytes], cost: Cost = COST) -> tuple[bytes, bytes]:
    """Return a backup and its key."""
    opening = Opening(
        memory_kib=cost.memory_kib,
        passes=cost.passes,
        lanes=cost.lanes,
        salt=seed("backup salt", 16),
        header=seed("backup header", 24),
    )
    key = derive(PASSPHRASE.encode(), opening.salt, cost)
    written = bytearray()
    manifest = Manifest(
        made_ms=1_800_000_000_000,
        version="1.0",
        schema=13,
        entries=len(contents),
        total_bytes=sum(map(len, contents.values())),
        files=True,
    )
    writer = BackupWriter(ContainerSealer(key, opening), written.extend, manifest)
    for name, content in contents.items():
        writer.add(name, len(content), [content])
    writer.end()
    return bytes(written), key


def make_backups() -> list[Case]:
    """Return one that is right, and one for each thing that may be wrong with it."""
    contents = {"keyfile": b"{}\n", "store.db": b"not a store\n", "blobs/a.leaves": bytes(32)}
    right, key = made(contents)
    said = {name: content.hex() for name, content in contents.items()}
    more = {"passphrase": PASSPHRASE}
    sealed_at = 16 + 12 + 16 + 24 + 17 + 8
    return [
        case("as made", "success", right, **more, key=key, contents=said),
        case("another passphrase", "wrong_passphrase", right, passphrase="six words of others"),
        case("cut in its opening", "cut off", right[:60], **more),
        case("cut behind its opening", "cut off", right[:sealed_at], **more),
        case("cut by one octet", "cut off", right[:-1], **more),
        case("one octet more", "cut off", right + b"\0", **more),
        case("another salt", "damaged", flip(right, 30), **more),
        case("another proof", "damaged", flip(right, 70), **more),
        case("another sum", "damaged", flip(right, sealed_at - 1), **more),
        case("another content", "cut off", flip(right, sealed_at + 20), **more),
        case("another file", "no backup", b"PK\3\4" + right, **more),
        case("a later version", "later version", right[:15] + b"\2" + right[16:], **more),
        case("nothing", "no backup", b"", **more),
    ]
