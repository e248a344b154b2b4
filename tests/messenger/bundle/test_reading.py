"""A bundle that is not exactly what was written is refused by the check, before anybody has acted on it."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from peerpost.bundle import reading
from peerpost.bundle.reading import BundleReader
from peerpost.bundle.record import Card, Record, encode
from peerpost.errors import BadInputError
from tests.support.bundles import BOB, bundle, digest_of, id_of, reader, received, sent, with_file

FILE = b"some bytes " * 1000
RECORDS = [received(3), with_file(2, FILE), received(1), sent(2), sent(1)]


def good() -> bytes:
    return bundle(RECORDS, [FILE])


def checked(data: bytes) -> BundleReader:
    found = reader(data)
    found.check()
    found.check_files()
    return found


def parts_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(parts: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name twice
        for name, data in parts:
            archive.writestr(name, data)
    return out.getvalue()


def altered(change: Callable[[dict[str, bytes]], object]) -> bytes:
    parts = parts_of(good())
    change(parts)
    return packed(list(parts.items()))


def resaid(parts: dict[str, bytes], **more: Any) -> None:
    """Have the manifest say what is in the parts, and `more`."""
    said = msgspec.json.decode(parts["manifest.json"])
    for name in ("messages", "contacts"):
        lines = parts[f"{name}.jsonl"]
        said |= {name: lines.count(b"\n"), f"{name}_blake2b": digest_of(lines)}
    said["files"] = sum(name.startswith("files/") for name in parts)
    parts["manifest.json"] = msgspec.json.encode(said | more)


def with_records(*records: Record, cards: tuple[Card, ...] = (BOB,)) -> bytes:
    """Return a bundle that is right but for what is said in its records."""
    parts = parts_of(good())
    parts["messages.jsonl"] = b"".join(encode(record) + b"\n" for record in records)
    parts["contacts.jsonl"] = b"".join(encode(card) + b"\n" for card in cards)
    resaid(parts)
    return packed(list(parts.items()))


def test_what_was_written_is_read() -> None:
    found = checked(good())
    assert list(found.records()) == RECORDS
    assert b"".join(found.file(digest_of(FILE))) == FILE
    assert found.manifest.messages == 5
    found.close()


def test_a_bundle_may_be_empty() -> None:
    found = checked(bundle([], cards=()))
    assert list(found.records()) == []


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": bytes,
    "no archive": lambda: b"PK\3\4" + bytes(100),
    "cut by a byte": lambda: good()[:-1],
    "cut in the middle": lambda: good()[: len(good()) // 2],
    "an empty archive": lambda: packed([]),
    "no manifest": lambda: altered(lambda parts: parts.pop("manifest.json")),
    "no messages": lambda: altered(lambda parts: parts.pop("messages.jsonl")),
    "no contacts": lambda: altered(lambda parts: parts.pop("contacts.jsonl")),
    "a line less": lambda: altered(
        lambda parts: parts.update({"messages.jsonl": parts["messages.jsonl"].split(b"\n", 1)[1]})
    ),
    "a line more": lambda: altered(
        lambda parts: parts.update({"messages.jsonl": parts["messages.jsonl"] + encode(received(9)) + b"\n"})
    ),
    "a line without its end": lambda: altered(
        lambda parts: parts.update({"messages.jsonl": parts["messages.jsonl"][:-1]})
    ),
    "another text": lambda: altered(
        lambda parts: parts.update({"messages.jsonl": parts["messages.jsonl"].replace(b"hello", b"hellO")})
    ),
    "another contact": lambda: altered(
        lambda parts: parts.update({"contacts.jsonl": parts["contacts.jsonl"].replace(b"bob", b"rob")})
    ),
    "another file": lambda: altered(
        lambda parts: parts.update({f"files/{digest_of(FILE)}": FILE[:-1] + b"!"})
    ),
    "a shorter file": lambda: altered(
        lambda parts: parts.update({f"files/{digest_of(FILE)}": FILE[:-1]})
    ),
    "a file less": lambda: altered(lambda parts: parts.pop(f"files/{digest_of(FILE)}")),
    "a file more": lambda: altered(lambda parts: parts.update({f"files/{digest_of(b'x')}": b"x"})),
    "a file more that is counted": lambda: altered(
        lambda parts: (parts.update({f"files/{digest_of(b'x')}": b"x"}), resaid(parts))
    ),
    "something else": lambda: altered(lambda parts: parts.update({"readme.txt": b"x"})),
    "a way out": lambda: altered(lambda parts: parts.update({"../../etc/cron.d/x": b"x"})),
    "a way out below files": lambda: altered(lambda parts: parts.update({"files/../../x": b"x"})),
    "an absolute path": lambda: altered(lambda parts: parts.update({"/etc/passwd": b"x"})),
    "a folder": lambda: altered(lambda parts: parts.update({"files/": b""})),
    "a name twice": lambda: packed([*parts_of(good()).items(), ("messages.jsonl", b"")]),
    "a file twice": lambda: packed([*parts_of(good()).items(), (f"files/{digest_of(FILE)}", FILE)]),
    "an id twice": lambda: with_records(received(1), received(2, id=id_of(1)), with_file(3, FILE)),
    "a number twice": lambda: with_records(
        received(1), received(1, id=id_of(2), sent_ms=received(1).sent_ms), with_file(3, FILE)
    ),
    "a contact twice": lambda: with_records(with_file(3, FILE), cards=(BOB, BOB)),
    "a contact that is not there": lambda: with_records(with_file(3, FILE, contact="nobody")),
    "a file of another size": lambda: with_records(with_file(3, FILE, size=7)),
    "a file that is not there": lambda: with_records(with_file(3, FILE), with_file(4, b"y")),
    "a long line": lambda: with_records_raw(b'{"id":"' + b"x" * (600 << 10) + b'"}\n'),
    "a long manifest": lambda: altered(
        lambda parts: parts.update({"manifest.json": parts["manifest.json"].ljust(70 << 10)})
    ),
    "counts beyond all bounds": lambda: altered(lambda parts: resaid(parts, messages=1 << 39)),
    "packed by another method": lambda: packed(list(parts_of(good()).items()), zipfile.ZIP_LZMA),
}  # fmt: skip


def with_records_raw(lines: bytes) -> bytes:
    parts = parts_of(good())
    parts["messages.jsonl"] = lines
    resaid(parts)
    return packed(list(parts.items()))


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_as_it_was_made_is_refused(name: str) -> None:
    with pytest.raises(BadInputError) as refused:
        checked(HOSTILE[name]())
    assert "nothing was changed" in str(refused.value.hint)


def test_a_bomb_is_refused_without_unpacking_it() -> None:
    bomb = packed([*parts_of(good()).items(), (f"files/{'00' * 32}", bytes(200 << 20))])
    with pytest.raises(BadInputError, match="says 1 files"):
        checked(bomb)
    # Named and counted, it takes what it says: the caller compares that with the room that there is.
    large = with_file(9, b"", file="00" * 32, size=200 << 20)
    parts = parts_of(good()) | {f"files/{'00' * 32}": bytes(200 << 20)}
    parts["messages.jsonl"] = encode(large) + b"\n" + encode(RECORDS[1]) + b"\n"
    resaid(parts)
    found = reader(packed(list(parts.items())))
    assert found.check() > 200 << 20
    with pytest.raises(BadInputError, match="what its name says"):
        found.check_files()


def test_one_file_of_many_messages_counts_each_time() -> None:
    records = [with_file(number, FILE) for number in range(1, 101)]
    assert reader(bundle(records, [FILE])).check() > 100 * len(FILE)


def test_a_directory_that_fills_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MAX_DIRECTORY_BYTES", 300 << 10)
    many = packed([*parts_of(good()).items(), *((f"x{n}", b"") for n in range(40_000))])
    with pytest.raises(BadInputError, match="directory is too long"):
        reader(many)


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_FILES", 3)
    data = [bytes([n]) for n in range(4)]
    with pytest.raises(BadInputError, match="more than 3 files"):
        reader(bundle([with_file(n, one) for n, one in enumerate(data, 1)], data))


def test_an_encrypted_archive_is_refused() -> None:
    data = bytearray(good())
    at = data.index(b"PK\1\2")
    flags = struct.unpack_from("<H", data, at + 8)[0]
    struct.pack_into("<H", data, at + 8, flags | 1)
    with pytest.raises(BadInputError):
        checked(bytes(data))


@pytest.mark.slow
def test_any_change_of_a_byte_is_found_or_changes_nothing() -> None:
    draw = random.Random(7)
    whole = good()
    for _ in range(2000):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        try:
            found = checked(bytes(data))
        except BadInputError:
            continue
        assert list(found.records()) == RECORDS
        assert b"".join(found.file(digest_of(FILE))) == FILE


@pytest.mark.slow
def test_any_cut_is_found() -> None:
    whole = good()
    for size in range(0, len(whole), 97):
        with pytest.raises(BadInputError):
            checked(whole[:size])
