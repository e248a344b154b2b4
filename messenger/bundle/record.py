"""What a bundle consists of: a manifest, cards of contacts, and a record for each message.

    manifest.json     what the bundle is, and how much is in it
    contacts.jsonl    a `Card` a line
    messages.jsonl    a `Record` a line, the newest message of each direction first
    files/BLAKE2B     the bytes of received files and long texts, each once, under the hash of what is in them

Whoever reads one reads the work of a stranger, so every field has bounds, and what is left out has one meaning.
docs/jobs/archive.md describes the form for people.
"""

from __future__ import annotations

import binascii
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from peerpost.errors import BadInputError
from peerpost.wire import limits

__all__ = [
    "CONTACTS",
    "DIGEST_BYTES",
    "FILES",
    "FORMAT",
    "MANIFEST",
    "MAX_LINE_BYTES",
    "MAX_MANIFEST_BYTES",
    "MESSAGES",
    "VERSION",
    "BundleManifest",
    "Card",
    "Owner",
    "Record",
    "bad",
    "body_of",
    "check",
    "decode_card",
    "decode_manifest",
    "decode_record",
    "encode",
    "with_body",
]

FORMAT: Final = "peerpost-bundle"
VERSION: Final = 1
MANIFEST: Final = "manifest.json"
CONTACTS: Final = "contacts.jsonl"
MESSAGES: Final = "messages.jsonl"
FILES: Final = "files/"
MAX_LINE_BYTES: Final = 512 << 10
"""The longest line. A text has up to 64 KiB, of which JSON makes six times as much if it is of control characters."""
MAX_MANIFEST_BYTES: Final = 64 << 10
DIGEST_BYTES: Final = 32
"""Of BLAKE2b, of a file or of a part of the bundle."""

_Hex16 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
_Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Id = Annotated[str, Meta(pattern=r"^[a-z2-7]{8}\Z")]
_Word = Annotated[str, Meta(min_length=1, max_length=64)]
_TimeMs = Annotated[int, Meta(ge=0, le=limits.MAX_TIME_MS)]
_TimeS = Annotated[int, Meta(ge=0, le=limits.MAX_TIME_S)]
_Size = Annotated[int, Meta(ge=0, le=limits.MAX_FILE_BYTES)]
_Count = Annotated[int, Meta(ge=0, le=1 << 40)]
_Text = Annotated[str, Meta(max_length=limits.MAX_INNER_BYTES)]
_Name = Annotated[str, Meta(max_length=1024)]
_Body = Annotated[str, Meta(max_length=4 * limits.MAX_INNER_BYTES // 3 + 4)]


class _Form(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Base of all structures here."""


class Owner(_Form, frozen=True, kw_only=True):
    """Whose home a bundle was made of."""

    name: _Word
    identity: _Hex32
    """The public key of its identity."""


class BundleManifest(_Form, frozen=True, kw_only=True):
    """What a bundle says of itself."""

    format: Literal["peerpost-bundle"]
    version: Annotated[int, Meta(ge=1, le=1 << 20)]
    made_ms: _TimeMs
    owner: Owner
    messages: _Count
    contacts: _Count
    files: _Count
    messages_blake2b: _Hex32
    contacts_blake2b: _Hex32


class Card(_Form, frozen=True, kw_only=True):
    """A contact whose messages are in a bundle."""

    id: _Word
    """By which the records name it."""
    name: _Word
    identity: _Hex32 | None = None
    """The public key of its identity; None of one that was removed by a version that did not keep it."""


class Record(_Form, frozen=True, kw_only=True):
    """One message."""

    id: _Id
    direction: Literal["received", "sent"]
    contact: _Word
    """The id of its card."""
    kind: Literal["text", "file", "unknown"]
    """unknown: a kind that the exporting version did not know; `foreign_kind` is its number."""
    outbox: _Hex16
    """With `lane` and `seq` the number of the message, by which it is the same in every home."""
    lane: Annotated[int, Meta(ge=0, le=1)]
    seq: Annotated[int, Meta(ge=0, le=limits.MAX_SEQ)]
    sent_ms: _TimeMs
    """By the clock of its sender. Of one that was sent: when it was queued."""
    at_ms: _TimeMs | None = None
    """When it was received; of one that was sent, when it was delivered."""
    size: _Size | None = None
    name: _Name | None = None
    text: _Text | None = None
    body: _Body | None = None
    """Of an unknown kind, bytes that are no UTF-8, in base64, instead of `text`."""
    file: _Hex32 | None = None
    """The BLAKE2b-256 of its bytes, which are in `files/`."""
    unread: bool = False
    gap: bool = False
    files: _Count | None = None
    """Of a folder: how many files are in it."""
    mode: Annotated[int, Meta(ge=0, le=0o777)] | None = None
    mtime_s: _TimeS | None = None
    foreign_kind: Annotated[int, Meta(ge=1, le=255)] | None = None
    state: Literal["queued", "sent", "delivered", "cancelled", "refused", "expired"] | None = None
    """Of one that was sent."""
    expires_ms: _TimeMs | None = None
    error: Annotated[str, Meta(max_length=1000)] | None = None


_MANIFEST: Final = msgspec.json.Decoder(BundleManifest)
_CARD: Final = msgspec.json.Decoder(Card)
_RECORD: Final = msgspec.json.Decoder(Record)
_ENCODER: Final = msgspec.json.Encoder()
_NOT_OURS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises: the last for a thousand brackets in each other."""


def bad(what: str) -> BadInputError:
    """Return the error for a bundle that is not as it was made."""
    return BadInputError(
        f"the bundle is damaged, or was not made by Peerpost: {what}",
        hint="take it again from where it was made; nothing was changed here",
    )


def encode(form: _Form) -> bytes:
    """Return a structure as one line of JSON, without its end."""
    return _ENCODER.encode(form)


def decode_manifest(data: bytes) -> BundleManifest:
    """Parse a manifest. Raises BadInputError for anything else, and for a later version of the form."""
    try:
        said = msgspec.json.decode(data)
        version = said["version"] if said["format"] == FORMAT else None
    except (*_NOT_OURS, TypeError, KeyError):
        version = None
    if type(version) is int and version > VERSION:
        raise BadInputError(
            "the bundle was made by a later version of Peerpost", hint="update Peerpost"
        )
    if version != VERSION:
        raise bad(f"{MANIFEST} is none")
    try:
        return _MANIFEST.decode(data)
    except _NOT_OURS as error:
        raise bad(f"{MANIFEST}: {error}") from None


def decode_card(line: bytes, number: int) -> Card:
    """Parse a line of `contacts.jsonl`. Raises BadInputError naming the line."""
    try:
        return _CARD.decode(line)
    except _NOT_OURS as error:
        raise bad(f"{CONTACTS}, line {number}: {error}") from None


def decode_record(line: bytes, number: int) -> Record:
    """Parse and check a line of `messages.jsonl`. Raises BadInputError naming the line."""
    try:
        record = _RECORD.decode(line)
    except _NOT_OURS as error:
        raise bad(f"{MESSAGES}, line {number}: {error}") from None
    wrong = check(record)
    if wrong is not None:
        raise bad(f"{MESSAGES}, line {number}: {wrong}")
    return record


def check(record: Record) -> str | None:
    """Return what is wrong with a record whose fields are right, each for itself; None if nothing is."""
    contents = [record.text, record.body, record.file]
    if sum(one is not None for one in contents) > 1:
        return "it has more than one of `text`, `body` and `file`"
    if record.kind == "file" and (record.text is not None or record.body is not None):
        return "a file has no `text` and no `body`"
    if record.body is not None and record.kind != "unknown":
        return "a text is UTF-8: it has `text`, and no `body`"
    if record.file is not None and record.kind == "unknown":
        return "only a file and a text have a `file`"
    if (record.kind == "unknown") != (record.foreign_kind is not None):
        return "`foreign_kind` is of an unknown kind, and of no other"
    try:
        body = body_of(record)
    except ValueError:
        return "`body` is not base64"
    if record.direction == "sent":
        return _check_sent(record, body)
    if record.at_ms is None or record.size is None:
        return "what was received has `at_ms` and `size`"
    if record.state is not None or record.expires_ms is not None or record.error is not None:
        return "what was received has no `state`, `expires_ms` or `error`"
    if body is not None and len(body) != record.size:
        return "`size` is not that of the text"
    if body is None and record.file is None and record.kind != "file":
        return "a text has `text`, `body` or `file`"
    if record.kind == "text" and record.file is not None and record.size > limits.MAX_TEXT_BYTES:
        return "a text is not as long as that"
    return None


def _check_sent(record: Record, body: bytes | None) -> str | None:
    if record.state is None or record.kind == "unknown":
        return "what was sent is a text or a file, and has a `state`"
    if record.file is not None or record.unread or record.gap or record.files is not None:
        return "what was sent has no `file`, `files`, `unread` or `gap`"
    if body is not None and len(body) > limits.INLINE_TEXT_MAX:
        return "a text that was sent is not as long as that"
    return None


def body_of(record: Record) -> bytes | None:
    """Return the bytes of a text, or of an unknown kind; None if the record has none. Raises ValueError."""
    if record.text is not None:
        return record.text.encode()
    if record.body is None:
        return None
    body = binascii.a2b_base64(record.body, strict_mode=True)
    if len(body) > limits.MAX_INNER_BYTES:
        raise ValueError("too long")
    return body


def with_body(record: Record, body: bytes | None) -> Record:
    """Return a record with the bytes of its text: as a text, if they are one."""
    if body is None:
        return record
    try:
        return msgspec.structs.replace(record, text=body.decode())
    except UnicodeDecodeError:
        return msgspec.structs.replace(
            record, body=binascii.b2a_base64(body, newline=False).decode()
        )
