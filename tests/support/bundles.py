"""Bundles, whole and hostile, and the messages in them."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from peerpost.bundle.reading import BundleReader, blake2b
from peerpost.bundle.record import Card, Owner, Record
from peerpost.bundle.writing import BundleWriter

OWNER = Owner(name="alice", identity="aa" * 32)
BOB = Card(id="bobsid", name="bob", identity="bb" * 32)
CAROL = Card(id="carolsid", name="carol")
CARDS = (BOB, CAROL)


def id_of(number: int) -> str:
    return base64.b32encode(number.to_bytes(5, "big")).decode().lower()


def digest_of(data: bytes) -> str:
    hasher = blake2b()
    hasher.update(data)
    return hasher.hexdigest()


def received(number: int, text: str | None = "hello", **more: Any) -> Record:
    said: dict[str, Any] = {
        "id": id_of(number),
        "direction": "received",
        "contact": BOB.id,
        "kind": "text",
        "outbox": "11" * 16,
        "lane": 0,
        "seq": number,
        "sent_ms": 1_700_000_000_000 + number,
        "at_ms": 1_700_000_000_500 + number,
        "size": len((text or "").encode()),
        "text": text,
    }
    return Record(**said | more)


def sent(number: int, text: str | None = "hello", **more: Any) -> Record:
    return received(number, text, **{"direction": "sent", "state": "delivered"} | more)


def with_file(number: int, data: bytes, **more: Any) -> Record:
    said = {"kind": "file", "text": None, "name": "a.bin", "size": len(data)}
    return received(number, **said | {"file": digest_of(data)} | more)


def bundle(
    records: Iterable[Record], files: Iterable[bytes] = (), cards: Iterable[Card] = CARDS
) -> bytes:
    """Return a bundle as the product writes it."""
    out = io.BytesIO()
    by_digest = {digest_of(data): data for data in files}
    with BundleWriter(out, OWNER, 1_700_000_000_000) as writer:
        writer.messages(records)
        writer.contacts(cards)
        for digest in writer.files:
            with writer.file(digest) as write:
                write(by_digest[digest])
        writer.end()
    return out.getvalue()


def reader(data: bytes) -> BundleReader:
    return BundleReader(io.BytesIO(data))  # type: ignore[arg-type]  # it reads like a raw file


# -- any messages at all

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
_NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
_TIMES = st.integers(0, 253_402_300_799_999)


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """Messages that a home can have, in both directions, the newest of each first."""
    found: list[Record] = []
    numbers = itertools.count(1)
    for direction in ("received", "sent"):
        count = draw(st.integers(0, 6))
        found.extend(draw(messages(direction, next(numbers))) for _ in range(count))
    return found


@st.composite
def messages(draw: st.DrawFn, direction: str, number: int) -> Record:
    text = draw(_TEXTS)
    more: dict[str, Any] = {
        "text": text,
        "size": len(text.encode()),
        "contact": draw(st.sampled_from([BOB.id, CAROL.id])),
        "outbox": draw(st.binary(min_size=16, max_size=16)).hex(),
        "lane": draw(st.integers(0, 1)),
        "seq": number + 100 * draw(st.integers(0, 1 << 56)),
        "sent_ms": draw(_TIMES),
        "at_ms": draw(_TIMES),
    }
    kind = draw(st.sampled_from(["text", "file", "unknown"]))
    if direction == "sent":
        state = draw(st.sampled_from(["delivered", "cancelled", "refused", "expired"]))
        more |= {"state": state, "error": draw(st.none() | _TEXTS), "direction": "sent"}
        more |= {"expires_ms": draw(st.none() | _TIMES)}
        if kind != "text":
            more |= {
                "kind": "file",
                "text": None,
                "name": draw(_NAMES),
                "size": draw(_TIMES) % 9999,
            }
        return received(number, **more)
    more |= {"unread": draw(st.booleans()), "gap": draw(st.booleans())}
    if kind == "unknown":
        body = draw(st.binary(max_size=50))
        more |= {"kind": kind, "foreign_kind": draw(st.integers(4, 255)), "size": len(body)}
        try:
            more["text"] = body.decode()
        except UnicodeDecodeError:
            more |= {"text": None, "body": base64.b64encode(body).decode()}
    return received(number, **more)
