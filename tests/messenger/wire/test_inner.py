from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from peerpost.errors import ProtocolError
from peerpost.wire import inner, limits

b16 = st.binary(min_size=16, max_size=16)
ext = st.dictionaries(st.text(min_size=1, max_size=32), st.binary(max_size=40), max_size=16)
reasons = st.text(max_size=limits.MAX_REASON_CHARS)
texts = st.text(max_size=200).map(lambda text: text.encode())
numbered = {
    "outbox_id": b16,
    "lane": st.sampled_from(inner.Lane),
    "seq": st.integers(1, limits.MAX_SEQ),
    "prev": b16,
    "sent_at_ms": st.integers(0, limits.MAX_TIME_MS),
    "reply_to": st.none() | b16,
    "ext": ext,
}
offers = st.builds(
    inner.Offer,
    file_id=b16,
    key=st.binary(min_size=32, max_size=32),
    chunk_log2=st.integers(14, 20),
    size=st.none() | st.integers(0, limits.MAX_FILE_BYTES),
    name=st.text(max_size=45),
    as_text=st.booleans(),
    mtime_s=st.none() | st.integers(0, limits.MAX_TIME_S),
    ext=ext,
)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    found, end = [], 0
    for gap, count in draw(
        st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), max_size=64)
    ):
        found.append((end + gap, count))
        end += gap + count
    return tuple(found)


messages = st.one_of(
    st.builds(inner.Message, kind=st.just(1), body=texts, **numbered),
    st.builds(inner.Message, kind=st.just(2), body=offers.map(inner.encode_offer), **numbered),
    st.builds(inner.Message, kind=st.just(3), body=b16, **numbered),
    st.builds(inner.Message, kind=st.integers(4, 255), body=st.binary(max_size=50), **numbered),
    st.builds(
        inner.Receipt,
        outbox_id=b16,
        lane=st.sampled_from(inner.Lane),
        watermark=st.integers(0, limits.MAX_SEQ),
        sack=st.binary(max_size=512),
        ext=ext,
    ),
    st.builds(inner.Accept, file_id=b16, ext=ext),
    st.builds(inner.Refuse, file_id=b16, reason=reasons, ext=ext),
    st.builds(
        inner.Pull,
        file_id=b16,
        leaves_first=st.integers(0, limits.MAX_CHUNKS // 2),
        leaves_count=st.integers(0, limits.MAX_CHUNKS // 2),
        ranges=ranges(),
        ext=ext,
    ),
    st.builds(
        inner.Leaves,
        file_id=b16,
        first=st.integers(0, limits.MAX_CHUNKS - 3),
        leaves=st.integers(1, 3).flatmap(lambda n: st.binary(min_size=32 * n, max_size=32 * n)),
        ext=ext,
    ),
    st.builds(
        inner.Finish,
        file_id=b16,
        size=st.integers(0, limits.MAX_FILE_BYTES),
        count=st.integers(1, limits.MAX_CHUNKS),
        root=st.binary(min_size=32, max_size=32),
        ext=ext,
    ),
    st.builds(inner.Complete, file_id=b16, ext=ext),
    st.builds(inner.Cancel, file_id=b16, reason=reasons, ext=ext),
    st.builds(
        inner.Statement,
        body=st.binary(min_size=1, max_size=200),
        sig=st.binary(min_size=64, max_size=64),
        ext=ext,
    ),
    st.builds(inner.Busy, reason=reasons, retry_ms=st.integers(0, limits.MAX_RETRY_MS), ext=ext),
    st.builds(inner.Goodbye, reason=reasons, ext=ext),
    st.builds(inner.Pause, file_id=b16, paused=st.booleans(), reason=reasons, ext=ext),
)


@given(messages)
def test_round_trip(message: inner.Inner) -> None:
    assert inner.decode(inner.encode(message)) == message


@given(offers)
def test_offer_round_trip(offer: inner.Offer) -> None:
    assert inner.decode_offer(inner.encode_offer(offer)) == offer


@given(offers, st.binary(max_size=4))
def test_a_mode_has_nine_bits(offer: inner.Offer, value: bytes) -> None:
    said = inner.mode_in(msgspec.structs.replace(offer, ext={inner.MODE: value}))
    assert said == (int.from_bytes(value, "big") % 0o1000 if len(value) == 2 else None)


def test_what_is_said_of_a_mode() -> None:
    for mode in (0, 0o600, 0o100755, 0o104777):
        offer = inner.Offer(
            file_id=bytes(16),
            key=bytes(32),
            chunk_log2=18,
            name="a",
            ext={inner.MODE: inner.mode_of(mode)},
        )
        assert inner.mode_in(inner.decode_offer(inner.encode_offer(offer))) == mode & 0o777


@pytest.mark.slow
@given(messages, st.data())
def test_a_mutation_is_refused_or_is_another_message(
    message: inner.Inner, data: st.DataObject
) -> None:
    encoded = inner.encode(message)
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    changed = bytearray(encoded)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        got = inner.decode(bytes(changed))
    except ProtocolError:
        return
    assert got != message or bytes(changed) != encoded


@given(messages)
def test_every_cut_and_every_extension_is_refused(message: inner.Inner) -> None:
    encoded = inner.encode(message)
    for end in range(0, len(encoded), max(1, len(encoded) // 40)):
        with pytest.raises(ProtocolError):
            inner.decode(encoded[:end])
    with pytest.raises(ProtocolError):
        inner.decode(encoded + b"\xc0")


@given(st.sampled_from([1, *range(16, 28)]), st.binary(max_size=200))
@example(1, b"\x99" + b"\x91" * 5000)
@example(1, b"\x99" + b"\xdd\xff\xff\xff\xff" * 10)
@example(17, b"\x92\xc4\x10" + bytes(16) + b"\xdf\xff\xff\xff\xff")
@example(17, b"\x92\xc6\xff\xff\xff\xff")
def test_garbage_raises_one_error(kind: int, data: bytes) -> None:
    try:
        inner.decode(bytes([kind]) + data)
    except ProtocolError:
        return


def test_deep_nesting_does_not_reach_the_interpreters_limit() -> None:
    for opener in (b"\x91", b"\x81\xa1a", b"\xdc\x00\x01"):
        with pytest.raises(ProtocolError):
            inner.decode(b"\x01\x99" + opener * 20_000)


@pytest.mark.parametrize("first", [0, 2, 15, 28, 255])
def test_an_unknown_type_is_told_apart(first: int) -> None:
    with pytest.raises(inner.UnknownTypeError):
        inner.decode(bytes([first, 0x90]))


def text(body: bytes, **changes: object) -> inner.Message:
    fields: dict[str, object] = {
        "kind": inner.Kind.TEXT,
        "outbox_id": bytes(16),
        "lane": inner.Lane.BULK,
        "seq": limits.MAX_SEQ,
        "prev": bytes(16),
        "sent_at_ms": limits.MAX_TIME_MS,
        "body": body,
        "reply_to": bytes(16),
    }
    return inner.Message(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_longest_text_fits_with_what_is_kept_for_ext() -> None:
    message = text(
        b"x" * limits.INLINE_TEXT_MAX, ext={"trace": bytes(limits.EXT_RESERVE_BYTES - 9)}
    )
    encoded = inner.encode(message)
    assert len(encoded) <= limits.MAX_INNER_BYTES
    assert inner.decode(encoded) == message
    bare = len(inner.encode(text(b"x" * limits.INLINE_TEXT_MAX))) - limits.INLINE_TEXT_MAX
    assert bare <= limits.INNER_HEADER_BYTES


def test_longer_than_an_envelope_holds_is_refused() -> None:
    with pytest.raises(ProtocolError, match="size"):
        inner.decode(inner.encode(text(b"x" * limits.MAX_INNER_BYTES)))


def test_too_many_leaves_are_refused() -> None:
    page = inner.Leaves(file_id=bytes(16), first=0, leaves=bytes(32 * limits.LEAVES_PER_PAGE))
    assert inner.decode(inner.encode(page)) == page
    more = msgspec.structs.replace(page, leaves=bytes(32 * (limits.LEAVES_PER_PAGE + 1)))
    with pytest.raises(ProtocolError):
        inner.decode(inner.encode(more))


def test_a_tombstone_has_the_link_of_what_it_replaces() -> None:
    message = text(b"never sent", seq=4)
    gone = inner.link(inner.encode(message), message)
    skip = text(gone, kind=inner.Kind.SKIP, seq=4)
    assert inner.link(inner.encode(skip), skip) == gone
    assert len(gone) == len(inner.FIRST_LINK)


def test_a_link_depends_on_every_field() -> None:
    base = text(b"a", seq=4)
    others = [
        text(b"b", seq=4),
        text(b"a", seq=5),
        text(b"a", seq=4, prev=b"\1" * 16),
        text(b"a", seq=4, lane=inner.Lane.URGENT),
        text(b"a", seq=4, ext={"x": b""}),
    ]
    links = {inner.link(inner.encode(message), message) for message in (base, *others)}
    assert len(links) == 6
