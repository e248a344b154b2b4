"""Vectors of frames, segments and inner messages."""

from __future__ import annotations

from typing import Any

from vector_people import ALICE, CREATED_S, FILE_ID, FILE_KEY, OUTBOX, Case, case, seed

from peerpost.wire import inner, limits
from peerpost.wire.frame import frame
from peerpost.wire.segment import Segment


def make_frames() -> list[Case]:
    """Streams and the payloads in them."""
    two = frame(b"\x01one") + frame(b"\x02")
    return [
        case("two frames", "success", two, payloads=["016f6e65", "02"]),
        case("one and a beginning", "success", two[:-1], payloads=["016f6e65"]),
        case("empty payload", "bad frame", bytes(4)),
        case("longer than any frame", "bad frame", (limits.MAX_FRAME_BYTES + 1).to_bytes(4, "big")),
        case("longest length field", "bad frame", b"\xff" * 4),
    ]


def make_segments() -> list[Case]:
    """Segment payloads."""
    good = Segment(file_id=FILE_ID, index=7, offset=65536, data=b"sealed bytes").encode()
    beyond = b"\x02" + FILE_ID + limits.MAX_CHUNKS.to_bytes(8, "big") + bytes(4) + b"x"
    tail = b"\x02" + FILE_ID + bytes(8) + (1 << 20).to_bytes(4, "big") + bytes(17)
    return [
        case("a segment", "success", good, file_id=FILE_ID, index=7, offset=65536),
        case("no data", "bad segment", good[:29]),
        case("short header", "bad segment", good[:28]),
        case("another type", "bad segment", b"\x01" + good[1:]),
        case("index beyond the largest file", "bad segment", beyond),
        case("end beyond the largest chunk", "bad segment", tail),
    ]


def text(body: bytes = b"Hello, Bob.", **changes: Any) -> inner.Message:
    """Return a message of kind TEXT, or with changes."""
    fields: dict[str, Any] = {
        "kind": inner.Kind.TEXT,
        "outbox_id": OUTBOX,
        "lane": inner.Lane.URGENT,
        "seq": 1,
        "prev": inner.FIRST_LINK,
        "sent_at_ms": CREATED_S * 1000,
        "body": body,
    }
    return inner.Message(**{**fields, **changes})


def offer(**changes: Any) -> bytes:
    """Return the body of a message of kind OFFER."""
    fields: dict[str, Any] = {
        "file_id": FILE_ID,
        "key": FILE_KEY,
        "chunk_log2": limits.CHUNK_LOG2,
        "size": 10_000_000,
        "name": "report.pdf",
        "mtime_s": CREATED_S,
    }
    return inner.encode_offer(inner.Offer(**{**fields, **changes}))


def make_inner() -> list[Case]:
    """Inner messages of every type, and what must be refused."""
    first = inner.encode(text())
    link = inner.link(first, text())
    bulk = {"lane": inner.Lane.BULK, "kind": inner.Kind.OFFER}
    skip = text(link, kind=inner.Kind.SKIP)
    pages: dict[str, inner.Inner] = {
        "receipt": inner.Receipt(outbox_id=OUTBOX, lane=0, watermark=41, sack=b"\x05"),
        "accept": inner.Accept(file_id=FILE_ID),
        "refuse": inner.Refuse(file_id=FILE_ID, reason="too large"),
        "pull": inner.Pull(
            file_id=FILE_ID, leaves_first=0, leaves_count=39, ranges=((0, 2), (5, 1))
        ),
        "pull that says what is there": inner.Pull(
            file_id=FILE_ID,
            leaves_first=0,
            leaves_count=0,
            ranges=((8, 31),),
            ext={inner.HAVE: (1 << 21).to_bytes(inner.HAVE_BYTES, "big")},
        ),
        "leaves": inner.Leaves(file_id=FILE_ID, first=0, leaves=seed("leaf 0") + seed("leaf 1")),
        "finish": inner.Finish(file_id=FILE_ID, size=10_000_000, count=39, root=seed("root")),
        "complete": inner.Complete(file_id=FILE_ID),
        "cancel": inner.Cancel(file_id=FILE_ID, reason="cancelled by the sender"),
        "statement": inner.Statement(body=ALICE.signed.body, sig=ALICE.signed.sig),
        "busy": inner.Busy(reason="the disk is full", retry_ms=60_000),
        "goodbye": inner.Goodbye(reason="a segment on the urgent lane"),
        "pause": inner.Pause(file_id=FILE_ID, paused=True, reason="paused by the sender"),
        "going on": inner.Pause(file_id=FILE_ID, paused=False),
    }
    good = [
        case("text", "success", first, link=link),
        case(
            "answer with a trace id",
            "success",
            inner.encode(
                text(b"Hi.", seq=2, prev=link, reply_to=link, ext={"trace": seed("trace", 8)})
            ),
        ),
        case("offer", "success", inner.encode(text(offer(), **bulk))),
        case("offer of a stream", "success", inner.encode(text(offer(size=None), **bulk))),
        case(
            "offer of a folder",
            "success",
            inner.encode(
                text(
                    offer(
                        size=10_240,
                        name="photos.tar",
                        mtime_s=None,
                        ext={inner.FILES: (12).to_bytes(8, "big")},
                    ),
                    **bulk,
                )
            ),
        ),
        case(
            "offer of a program",
            "success",
            inner.encode(text(offer(name="run.sh", ext={inner.MODE: b"\x01\xe8"}), **bulk)),
            mode=0o750,
        ),
        case(
            "offer of setuid",
            "success",
            inner.encode(text(offer(ext={inner.MODE: b"\xff\xe4"}), **bulk)),
            mode=0o744,
        ),
        case(
            "offer of a mode of three bytes",
            "success",
            inner.encode(text(offer(ext={inner.MODE: b"\x00\x01\xa4"}), **bulk)),
            mode=None,
        ),
        case("skip", "success", inner.encode(skip), link=link),
        case("a later kind", "success", inner.encode(text(b"\xff", kind=9))),
        *(case(name, "success", inner.encode(page)) for name, page in pages.items()),
    ]
    return good + _bad_inner(first, bulk)


def _bad_inner(first: bytes, bulk: dict[str, Any]) -> list[Case]:
    def bad(name: str, message: inner.Inner) -> Case:
        return case(name, "bad inner", inner.encode(message))

    pull = {"file_id": FILE_ID, "leaves_first": 0, "leaves_count": 0}
    return [
        case("empty", "bad inner", b""),
        case("unknown type", "unknown type", b"\x7f\x90"),
        case("type without fields", "bad inner", b"\x01"),
        case("field missing", "bad inner", b"\x01\x98" + first[2:-1]),
        case("field too many", "bad inner", b"\x01\x9a" + first[2:] + b"\xc0"),
        case("array16 header", "bad inner", b"\x01\xdc\x00\x09" + first[2:]),
        case("bytes after the end", "bad inner", first + b"\xc0"),
        case("cut", "bad inner", first[:-1]),
        case("kind as text", "bad inner", b"\x01\x99\xa1t" + first[3:]),
        bad("kind 0", text(kind=0)),
        bad("lane 2", text(lane=2)),
        bad("seq 0", text(seq=0)),
        bad("seq above 2^63 - 1", text(seq=1 << 63)),
        bad("outbox id of 15 bytes", text(outbox_id=bytes(15))),
        bad("prev of 17 bytes", text(prev=bytes(17))),
        bad("year 10000", text(sent_at_ms=limits.MAX_TIME_MS + 1)),
        bad("reply to 15 bytes", text(reply_to=bytes(15))),
        bad("text not UTF-8", text(b"\xff")),
        bad("text with a surrogate", text(b"\xed\xa0\x80")),
        bad("skip without a link", text(b"", kind=inner.Kind.SKIP)),
        bad("17 entries in ext", text(ext={f"k{i}": b"" for i in range(17)})),
        bad("long key in ext", text(ext={"k" * 33: b""})),
        bad("empty key in ext", text(ext={"": b""})),
        bad("long value in ext", text(ext={"k": bytes(4097)})),
        bad("offer cut", text(offer()[:-1], **bulk)),
        bad("chunks of 2^13", text(offer(chunk_log2=13), **bulk)),
        bad("chunks of 2^21", text(offer(chunk_log2=21), **bulk)),
        bad("file above 1 TiB", text(offer(size=limits.MAX_FILE_BYTES + 1), **bulk)),
        bad("name of 182 bytes", text(offer(name="é" * 91), **bulk)),
        bad(
            "513 bytes of sack",
            inner.Receipt(outbox_id=OUTBOX, lane=0, watermark=0, sack=bytes(513)),
        ),
        bad("ranges overlap", inner.Pull(**pull, ranges=((0, 2), (1, 1)))),
        bad("ranges out of order", inner.Pull(**pull, ranges=((5, 1), (0, 1)))),
        bad("range of nothing", inner.Pull(**pull, ranges=((0, 0),))),
        bad("65 ranges", inner.Pull(**pull, ranges=tuple((2 * i, 1) for i in range(65)))),
        bad(
            "range beyond the largest file",
            inner.Pull(**pull, ranges=((limits.MAX_CHUNKS - 1, 2),)),
        ),
        bad("leaves of 33 bytes", inner.Leaves(file_id=FILE_ID, first=0, leaves=bytes(33))),
        bad("no leaves", inner.Leaves(file_id=FILE_ID, first=0, leaves=b"")),
        bad("a file of no chunks", inner.Finish(file_id=FILE_ID, size=0, count=0, root=bytes(32))),
        case("paused as a number", "bad inner", b"\x1a\x94\xc4\x10" + FILE_ID + b"\x01\xa0\x80"),
        bad("reason too long", inner.Refuse(file_id=FILE_ID, reason="x" * 201)),
        bad("busy for two days", inner.Busy(reason="", retry_ms=2 * limits.MAX_RETRY_MS)),
    ]
