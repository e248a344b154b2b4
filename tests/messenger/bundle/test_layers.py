"""What lies around a bundle: the container under a passphrase, and the file without a name."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest

from peerpost.bundle import sealing
from peerpost.bundle.scratch import BLOCK_BYTES, Scratch
from peerpost.bundle.sealing import SealingFile, unsealed
from peerpost.crypto.container import SEALED_BYTES
from peerpost.crypto.passphrase import Cost
from peerpost.errors import BadInputError, ShortMemoryError, WrongPassphraseError

SECRET = b"umber lattice quiver saddle"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "calibrate", lambda *_: Cost(1 << 10, 1, 1))


def sealed(data: bytes, step: int = 70_000) -> bytes:
    out = io.BytesIO()
    file = SealingFile(out, SECRET)
    for at in range(0, len(data), step):
        file.write(data[at : at + step])
    file.end()
    return out.getvalue()


def opened(data: bytes, secret: bytes = SECRET) -> bytes:
    return b"".join(unsealed(io.BytesIO(data).read, lambda attempt: attempt(secret)))


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3 << 16, 1_000_001])
def test_what_is_sealed_is_opened(size: int) -> None:
    data = random.Random(1).randbytes(size)
    assert opened(sealed(data)) == data


def test_a_wrong_passphrase_is_told_from_damage() -> None:
    data = sealed(bytes(200_000))
    with pytest.raises(WrongPassphraseError, match="of the bundle"):
        opened(data, b"another one")
    for cut in (10, 60, 200, SEALED_BYTES, len(data) - 1):
        with pytest.raises(BadInputError):
            opened(data[:cut])
    for at in (3, 20, 40, 90, 100, 70_000, len(data) - 1):
        bad = bytearray(data)
        bad[at] ^= 1
        with pytest.raises((BadInputError, WrongPassphraseError)):
            opened(bytes(bad))
    with pytest.raises(BadInputError):
        opened(data + b"x")


def test_a_cost_beyond_the_memory_is_refused_before_it_is_paid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = sealed(b"x")
    monkeypatch.setattr(sealing, "free_memory_bytes", lambda: 1000)
    with pytest.raises(ShortMemoryError):
        opened(data)


def test_nothing_of_it_can_be_read_on_the_disk(tmp_path: Path) -> None:
    data = b"a very secret text" * 20_000
    scratch = Scratch(tmp_path, [data])
    assert not list(tmp_path.iterdir())
    found = Path(f"/proc/self/fd/{scratch._file.fileno()}").read_bytes()
    assert len(found) > len(data)
    assert b"secret" not in found
    scratch.close()
    scratch.close()


def test_it_reads_like_a_file(tmp_path: Path) -> None:
    draw = random.Random(3)
    data = draw.randbytes(3 * BLOCK_BYTES + 17)
    pieces = [data[at : at + 50_001] for at in range(0, len(data), 50_001)]
    with Scratch(tmp_path, pieces) as scratch:
        file = io.BufferedReader(scratch)
        plain = io.BytesIO(data)
        assert file.read() == data
        for _ in range(300):
            at, count = draw.randrange(-10, len(data) + 100), draw.randrange(0, 2 * BLOCK_BYTES)
            if at < 0:
                assert file.seek(at, os.SEEK_END) == plain.seek(at, os.SEEK_END)
            else:
                assert file.seek(at) == plain.seek(at)
            assert file.read(count) == plain.read(count)
        with pytest.raises(ValueError, match="before the beginning"):
            scratch.seek(-len(data) - 1, os.SEEK_END)


def test_a_block_that_has_changed_is_refused(tmp_path: Path) -> None:
    from peerpost.errors import StorageError

    with Scratch(tmp_path, [bytes(100)]) as scratch:
        scratch._file.flush()
        os.pwrite(scratch._file.fileno(), b"x", 5)
        with pytest.raises(StorageError):
            scratch.read(10)
