"""What is in a backup, as it is written and read; whatever is wrong with it is told apart, within bounds."""

from __future__ import annotations

import io
import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from peerpost.crypto import container
from peerpost.crypto.container import (
    OPENING_BYTES,
    PIECE_BYTES,
    SEALED_BYTES,
    ContainerSealer,
    Opening,
)
from peerpost.crypto.passphrase import Cost, derive
from peerpost.errors import BadInputError, PeerpostError, WrongPassphraseError
from peerpost.store.files.backup import BackupReader, BackupWriter, Manifest

CASES = json.loads((Path(__file__).parents[3] / "vectors" / "home" / "backup.json").read_text())
CHEAP = Cost(8, 1, 1)
SECRET = b"secret"


def reader(data: bytes, secret: bytes = SECRET) -> BackupReader:
    def key_of(opening: Opening) -> bytes:
        cost = Cost.parse((opening.memory_kib, opening.passes, opening.lanes))
        return derive(secret, opening.salt, cost)

    return BackupReader(io.BytesIO(data).readinto, key_of)


def contents(data: bytes, secret: bytes = SECRET) -> dict[str, bytes]:
    read = reader(data, secret)
    return {name: b"".join(read.content()) for name, _ in read.entries()}


def opening(cost: Cost = CHEAP) -> Opening:
    parts = (cost.memory_kib, cost.passes, cost.lanes)
    return Opening(
        **dict(zip(("memory_kib", "passes", "lanes"), parts, strict=True)),
        salt=bytes(16),
        header=bytes(range(24)),
    )


def manifest(entries: int = 1) -> Manifest:
    return Manifest(made_ms=1, version="1", schema=13, entries=entries, total_bytes=0, files=True)


def written(files: dict[str, bytes], piece: int = 1 << 14) -> bytes:
    out = bytearray()
    sealer = ContainerSealer(derive(SECRET, bytes(16), CHEAP), opening())
    writer = BackupWriter(sealer, out.extend, manifest(len(files)))
    for name, data in files.items():
        pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
        writer.add(name, len(data), pieces)
    writer.end()
    return bytes(out)


def sealed(plain: bytes) -> bytes:
    """Return a backup of any plaintext, under the right key."""
    sealer = ContainerSealer(derive(SECRET, bytes(16), CHEAP), opening())
    return sealer.opening + sealer.seal(plain, last=True)


def said() -> bytes:
    data = manifest().encode()
    return b"\x08manifest" + len(data).to_bytes(8, "big") + data


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_vectors(case: dict[str, Any]) -> None:
    data, secret = bytes.fromhex(case["data"]), case["passphrase"].encode()
    if case["expect"] == "success":
        assert {k: v.hex() for k, v in contents(data, secret).items()} == case["contents"]
        return
    with pytest.raises(PeerpostError) as caught:
        contents(data, secret)
    assert case["expect"] in (
        caught.value.code,
        *[case["expect"]] * (case["expect"] in str(caught.value)),
    )
    assert caught.value.hint


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 300_000])
def test_what_is_written_is_read(size: int) -> None:
    files = {
        "keyfile": b"k",
        "store.db": random.Random(size).randbytes(size),
        "spool/a.leaves": b"",
    }
    assert contents(written(files)) == files


def test_wherever_it_is_cut_it_is_said_to_be_cut() -> None:
    whole = written({"store.db": bytes(200_000)})
    cuts = [
        *range(1, OPENING_BYTES + 20),
        OPENING_BYTES + SEALED_BYTES,
        *range(300, len(whole), 7919),
    ]
    cuts += [OPENING_BYTES + n * SEALED_BYTES + d for n in (1, 2, 3) for d in (-1, 0, 1)]
    for at in cuts:
        with pytest.raises(BadInputError, match=r"cut off|no backup"):
            contents(whole[: min(at, len(whole) - 1)])


def test_every_flipped_bit_is_noticed_and_is_no_wrong_passphrase() -> None:
    whole = written({"store.db": bytes(1000)})
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        with pytest.raises(BadInputError):
            contents(bytes(changed))


def test_a_wrong_passphrase_is_no_damage() -> None:
    whole = written({"store.db": bytes(1000)})
    for secret in (b"", b"Secret", b"secret\n", b"secret "):
        with pytest.raises(WrongPassphraseError):
            contents(whole, secret)


def test_pieces_that_changed_places_are_noticed() -> None:
    whole = written({"store.db": random.Random(1).randbytes(300_000)})
    one, two = (OPENING_BYTES + n * SEALED_BYTES for n in (1, 2))
    swapped = (
        whole[:one] + whole[two : two + SEALED_BYTES] + whole[one:two] + whole[two + SEALED_BYTES :]
    )
    with pytest.raises(BadInputError, match="damaged"):
        contents(swapped)
    without = whole[:one] + whole[two:]
    with pytest.raises(BadInputError, match="damaged"):
        contents(without)


@pytest.mark.parametrize(
    "numbers",
    [(2**32 - 1, 3, 1), (3 << 20, 3, 1), (8, 0, 1), (8, 1, 0), (0, 1, 1), (8, 17, 1), (8, 1, 17)],
)
def test_a_cost_out_of_bounds_takes_no_memory(numbers: tuple[int, int, int]) -> None:
    whole = written({"store.db": b""})
    head = whole[:16] + struct.pack(">III", *numbers) + whole[28 : OPENING_BYTES - 8]
    forged = head + container._sum(head) + whole[OPENING_BYTES:]
    with pytest.raises(BadInputError, match="out of bounds"):
        contents(forged)


def entry(name: bytes, size: int, data: bytes = b"") -> bytes:
    return bytes([len(name)]) + name + size.to_bytes(8, "big") + data


@pytest.mark.parametrize(
    "name",
    [
        *(
            b"../keyfile",
            b"/etc/passwd",
            b"blobs/../x.sealed",
            b"blobs/x",
            b"x",
            b"lock",
            b"blobs/",
        ),
        *(b"spool/a/b.sealed", b"store.db-wal", b"keyfile\n", b"\xff\xff", b"blobs/.sealed"),
        b"manifest",
    ],
)
def test_no_name_leads_out_of_the_home(name: bytes) -> None:
    with pytest.raises(BadInputError, match="damaged"):
        contents(sealed(said() + entry(name, 1, b"x") + b"\0"))


@pytest.mark.parametrize(
    "plain",
    [
        b"\0",
        entry(b"store.db", 1, b"x") + b"\0",
        entry(b"manifest", 4097, bytes(4097)) + b"\0",
        entry(b"manifest", 2, b"{}") + b"\0",
        entry(b"manifest", 2, b"[]") + b"\0",
        entry(b"manifest", 4000, b"[" * 4000) + b"\0",
        said(),
        said() + b"\0\0",
        said() + entry(b"keyfile", 5000, bytes(5000)) + b"\0",
        said() + entry(b"config.toml", 2 << 20) + b"\0",
        said() + entry(b"store.db", 2**64 - 1, b"x") + b"\0",
        said() + entry(b"store.db", 2**40, b"x") + b"\0",
        said() + b"\x08stor",
    ],
)
def test_an_odd_content_is_refused_within_bounds(plain: bytes) -> None:
    with pytest.raises(BadInputError):
        contents(sealed(plain))


def test_a_later_version_is_said_to_be_one() -> None:
    odd = json.dumps({**json.loads(manifest().encode()), "v": 2}).encode()
    with pytest.raises(BadInputError, match="later version"):
        contents(sealed(entry(b"manifest", len(odd), odd) + b"\0"))


def test_entries_of_a_later_version_of_the_manifest_are_passed_over() -> None:
    more = json.dumps({**json.loads(manifest().encode()), "x": [1]}).encode()
    assert contents(
        sealed(entry(b"manifest", len(more), more) + entry(b"keyfile", 1, b"k") + b"\0")
    ) == {"keyfile": b"k"}


def test_a_file_of_another_size_than_was_said_is_not_written() -> None:
    sealer = ContainerSealer(derive(SECRET, bytes(16), CHEAP), opening())
    backup = BackupWriter(sealer, lambda _: None, manifest())
    with pytest.raises(ValueError, match="size"):
        backup.add("store.db", 3, [b"ab"])
