"""A record is what it may be, or is refused with what is wrong with it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from peerpost.bundle.record import (
    Record,
    body_of,
    check,
    decode_card,
    decode_manifest,
    decode_record,
    encode,
    with_body,
)
from peerpost.errors import BadInputError
from peerpost.wire import limits
from tests.support.bundles import histories, received, sent, with_file


@given(histories())
def test_what_is_written_is_read(records: list[Record]) -> None:
    for number, record in enumerate(records, 1):
        assert decode_record(encode(record), number) == record
        bare = msgspec.structs.replace(record, text=None, body=None)
        assert with_body(bare, body_of(record)) == record


@pytest.mark.parametrize(
    ("record", "wrong"),
    [
        (received(1, body="aGVsbG8="), "more than one"),
        (received(1, file="00" * 32), "more than one"),
        (received(1, text=None), "`text`, `body` or `file`"),
        (received(1, text=None, body="aGVsbG8="), "UTF-8"),
        (received(1, kind="file"), "a file has no"),
        (received(1, kind="unknown"), "foreign_kind"),
        (received(1, foreign_kind=9), "foreign_kind"),
        (received(1, kind="unknown", foreign_kind=9, text=None, body="%%%"), "base64"),
        (received(1, kind="unknown", foreign_kind=9, text=None, body="aGV=sbG8="), "base64"),
        (
            received(1, kind="unknown", foreign_kind=9, text=None, file="00" * 32),
            "only a file and a text",
        ),
        (received(1, at_ms=None), "`at_ms`"),
        (received(1, size=None), "`size`"),
        (received(1, size=99), "not that of the text"),
        (received(1, state="delivered"), "`state`"),
        (received(1, error="x"), "`error`"),
        (received(1, text=None, file="00" * 32, size=limits.MAX_TEXT_BYTES + 1), "as long as that"),
        (sent(1, state=None), "`state`"),
        (sent(1, kind="unknown", foreign_kind=9), "`state`"),
        (sent(1, text=None, file="00" * 32), "no `file`"),
        (sent(1, unread=True), "`unread`"),
        (sent(1, "x" * (limits.INLINE_TEXT_MAX + 1)), "as long as that"),
    ],
)
def test_what_cannot_be_is_refused(record: Record, wrong: str) -> None:
    assert wrong in str(check(record))
    with pytest.raises(BadInputError, match=r"line 7"):
        decode_record(encode(record), 7)


@pytest.mark.parametrize("record", [received(1), sent(1), with_file(1, b"x"), sent(1, text=None)])
def test_what_can_be_is_taken(record: Record) -> None:
    assert check(record) is None


BAD_FIELDS: list[tuple[str, Any]] = [
    ("id", "../../x"),
    ("id", "ABCDEFGH"),
    ("id", ""),
    ("direction", "both"),
    ("contact", ""),
    ("contact", "x" * 65),
    ("kind", "folder"),
    ("outbox", "11"),
    ("outbox", "zz" * 16),
    ("lane", 2),
    ("lane", True),
    ("seq", -1),
    ("seq", 1 << 63),
    ("sent_ms", -1),
    ("at_ms", 1 << 62),
    ("at_ms", 1.5),
    ("size", -1),
    ("size", 1 << 60),
    ("text", 7),
    ("text", "x" * 70_000),
    ("name", "x" * 1025),
    ("file", "../../etc/passwd"),
    ("file", "00" * 31),
    ("mode", 0o4755),
    ("mtime_s", 1 << 60),
    ("mtime_s", -1),
    ("foreign_kind", 0),
    ("unread", 1),
    ("more", 1),
]


@pytest.mark.parametrize(("key", "value"), BAD_FIELDS)
def test_each_field_has_bounds(key: str, value: Any) -> None:
    row = msgspec.to_builtins(received(1)) | {key: value}
    with pytest.raises(BadInputError, match=r"messages\.jsonl, line 3"):
        decode_record(msgspec.json.encode(row), 3)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 5000, b'{"format":1}', b'"x"']
)
def test_what_is_no_json_of_ours_is_refused(data: bytes) -> None:
    for decode in (
        decode_manifest,
        lambda line: decode_card(line, 1),
        lambda line: decode_record(line, 1),
    ):
        with pytest.raises(BadInputError):
            decode(data)


def test_a_later_version_is_told_from_damage() -> None:
    with pytest.raises(BadInputError, match="later version"):
        decode_manifest(b'{"format": "peerpost-bundle", "version": 2, "new": []}')
    with pytest.raises(BadInputError, match="manifest"):
        decode_manifest(b'{"format": "peerpost-bundle", "version": 1}')
    with pytest.raises(BadInputError, match="manifest"):
        decode_manifest(b'{"format": "zip", "version": 2}')
