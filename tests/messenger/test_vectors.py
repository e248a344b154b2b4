"""The frozen vectors: made again they are the same bytes, and each case comes out as it says."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from peerpost import fastpath
from peerpost.crypto import file, invite, keys, labels, noise_x, statement
from peerpost.crypto.envelope import ReceiveEpochs, SendEpoch
from peerpost.crypto.keys import Ed25519KeyPair, X25519KeyPair
from peerpost.errors import BadInputError, PeerpostError, ProtocolError, UntrustedError
from peerpost.protocol.hello import Hello, HelloProtocolError, HelloUntrustedError, Role
from peerpost.wire import inner, limits
from peerpost.wire.frame import FrameReader
from peerpost.wire.segment import Segment
from peerpost.wire.statement import Signed
from peerpost.wire.ticket import Ticket
from tests.support.chunk import open_chunk, root

VECTORS = Path(__file__).parents[1] / "vectors"
Case = dict[str, Any]


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """Import the generator, which is a script."""
    spec = importlib.util.spec_from_file_location("vector_make", VECTORS / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    kept = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = kept
    return module


def cases(name: str) -> list[Any]:
    """Return the cases of a file, each under its own name."""
    found = json.loads((VECTORS / f"{name}.json").read_text())
    return [pytest.param(case, id=f"{name}-{case['name']}") for case in found]


def unhex(case: Case, *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


def outcome(action: Callable[[], object], names: dict[type[PeerpostError], str]) -> str:
    """Run a parser and say what came of it in the words of the vectors."""
    try:
        action()
    except PeerpostError as error:
        return names[type(error)]
    return "success"


def test_made_again_they_are_the_same(make: ModuleType) -> None:
    found = (*VECTORS.glob("*.json"), *VECTORS.glob("home/*.json"))
    files = {path.relative_to(VECTORS).as_posix() for path in found}
    assert files == set(make.FILES)
    for name, build in make.FILES.items():
        assert make.render(build()) == (VECTORS / name).read_text(), name


@pytest.mark.parametrize("case", cases("frame"))
def test_frame(case: Case) -> None:
    got: list[bytes] = []
    data = bytes.fromhex(case["data"])
    reader = FrameReader(limits.MAX_FRAME_BYTES)
    assert case["expect"] == outcome(
        lambda: got.extend(reader.feed(data)), {ProtocolError: "bad frame"}
    )
    if case["expect"] == "success":
        assert [payload.hex() for payload in got] == case["payloads"]


@pytest.mark.parametrize("case", cases("segment"))
def test_segment(case: Case) -> None:
    data = bytes.fromhex(case["data"])
    assert case["expect"] == outcome(lambda: Segment.decode(data), {ProtocolError: "bad segment"})
    if case["expect"] == "success":
        segment = Segment.decode(data)
        assert segment.encode() == data
        assert (segment.file_id.hex(), segment.index, segment.offset) == (
            case["file_id"],
            case["index"],
            case["offset"],
        )


@pytest.mark.parametrize("case", cases("inner"))
def test_inner(case: Case) -> None:
    data = bytes.fromhex(case["data"])
    names = {ProtocolError: "bad inner", inner.UnknownTypeError: "unknown type"}
    assert case["expect"] == outcome(lambda: inner.decode(data), names)
    if case["expect"] == "success":
        message = inner.decode(data)
        assert inner.encode(message) == data
        if "link" in case:
            assert isinstance(message, inner.Message)
            assert inner.link(data, message).hex() == case["link"]
        if "mode" in case:
            assert isinstance(message, inner.Message)
            assert inner.mode_in(inner.decode_offer(message.body)) == case["mode"]


@pytest.mark.parametrize("case", cases("noise"))
def test_noise(case: Case) -> None:
    message, psk, prologue = unhex(case, "data", "psk", "prologue")
    recipient = X25519KeyPair.from_seed(bytes.fromhex(case["recipient_secret"]))

    def opened() -> noise_x.OpenedHandshake:
        return noise_x.open_message(
            message, recipient=recipient, psk_of=lambda _: psk, prologue=prologue
        )

    assert case["expect"] == outcome(opened, {ProtocolError: "bad message"})
    if case["expect"] == "success":
        assert opened().key.hex() == case["key"]
        assert opened().handshake_hash.hex() == case["handshake_hash"]
        sender = X25519KeyPair.from_seed(bytes.fromhex(case["sender_secret"]))
        assert opened().sender == sender.public
        ephemeral = X25519KeyPair.from_seed(bytes.fromhex(case["ephemeral_secret"]))
        made = noise_x.seal_message(
            sender=sender,
            recipient=recipient.public,
            ephemeral=ephemeral,
            psk=psk,
            prologue=prologue,
        )
        assert made.message == message


@pytest.mark.parametrize("case", cases("envelope"))
def test_envelope(case: Case) -> None:
    data, recipient_id, secret, prekey = unhex(
        case, "data", "recipient_id", "prekey_secret", "prekey_id"
    )
    receiving = ReceiveEpochs(
        recipient_id,
        lambda wanted: secret if wanted == prekey else None,
        lambda _, generation: bytes(32) if generation == 0 else None,
    )
    assert case["expect"] == outcome(lambda: receiving.open(data), {ProtocolError: "bad envelope"})
    if case["expect"] == "success":
        opened = receiving.open(data)
        assert [opened.sender, opened.epoch, opened.inner] == unhex(
            case, "sender", "epoch", "inner"
        )
        assert opened.n == case["n"]
        assert sealed_again(case, opened.inner) == data


def sealed_again(case: Case, message: bytes) -> bytes:
    """Return the envelope as who has all secrets computes it."""
    sender, ephemeral, prekey = unhex(case, "sender_secret", "ephemeral_secret", "prekey_secret")
    (recipient_id,) = unhex(case, "recipient_id")
    recipient = X25519KeyPair.from_seed(prekey).public
    epoch = SendEpoch(
        sender=X25519KeyPair.from_seed(sender),
        recipient_id=recipient_id,
        prekey_id=keys.prekey_id(recipient),
        prekey_public=recipient,
        psk=bytes(32),
        psk_generation=0,
        ephemeral_seed=ephemeral,
        now_s=0.0,
    )
    frame_bytes = limits.FRAME_HEADER_BYTES + len(case["data"]) // 2
    for _ in range(case["n"]):
        epoch.seal(b"", None)
    return epoch.seal(message, (frame_bytes,))


@pytest.mark.parametrize("case", cases("chunk"))
def test_chunk(case: Case) -> None:
    file_key, file_id, leaf_key, leaves = unhex(case, "file_key", "file_id", "leaf_key", "leaves")
    data = bytes(i % 251 for i in range(case["size"]))
    assert file.leaf_key(file_key) == leaf_key
    made = fastpath.leaves(
        data, 1 << 14, key=leaf_key, person=file.LEAF_PERSON, first_index=0, last=True
    )
    assert made == leaves
    assert root(leaves).hex() == case["root"]
    index = len(leaves) // 32 - 1
    leaf, piece = leaves[-32:], data[index << 14 :]
    assert file.chunk_key(file_key, index, leaf).hex() == case["last_chunk_key"]
    sealed = file.seal_chunk(file_key, file_id, index, True, leaf, piece)
    digest = fastpath.digests(sealed, len(sealed))
    assert digest.hex() == case["last_sealed_blake2b"]
    assert open_chunk(file_key, file_id, index, True, leaf, sealed) == piece


@pytest.mark.parametrize("case", cases("statement"))
def test_statement(case: Case) -> None:
    data = bytes.fromhex(case["data"])
    signed = Signed(body=data[:-64], sig=data[-64:])
    names: dict[type[PeerpostError], str] = {
        ProtocolError: "bad statement",
        UntrustedError: "bad signature",
    }
    assert case["expect"] == outcome(lambda: statement.verify(signed), names)
    if "digest" in case:
        assert statement.digest(signed.body).hex() == case["digest"]


@pytest.mark.parametrize("case", cases("ticket"))
def test_ticket(case: Case) -> None:
    text = case["text"]
    assert case["expect"] == outcome(lambda: Ticket.decode(text), {BadInputError: "bad ticket"})
    if case["expect"] == "success":
        ticket = Ticket.decode(text)
        assert ticket.encode() == "".join(text.split()).upper()
        assert ticket.id_public.hex() == case["id_public"]
        assert ticket.transport_public.hex() == case["transport_public"]
        assert ticket.secret.hex() == case["secret"]
        assert ticket.expires_s == case["expires_s"]
        assert list(ticket.addresses) == case["addresses"]
        assert invite.invite_id(ticket.secret).hex() == case["invite_id"]


@pytest.mark.parametrize("case", cases("hello"))
def test_hello(case: Case, make: ModuleType) -> None:
    trust = sys.modules["vector_trust"]
    people = sys.modules["vector_people"]
    secret, epk_secret = unhex(case, "invite_secret", "responder_epk_secret")
    responder = Hello(
        role=Role.RESPONDER,
        me=people.ALICE.party,
        peer_transport_public=people.BOB.tk.public,
        nonce=people.seed("alice nonce"),
        epk=X25519KeyPair.from_seed(epk_secret),
        policy=trust.Terms(secret=secret),
    )
    responder.start()
    cause = "success"
    try:
        for at, flight in enumerate(case["flights"]):
            if at % 2 == 0:
                reply = responder.receive(bytes.fromhex(flight))
                if responder.asked is not None:
                    reply = responder.answer()
                assert reply.hex() in case["flights"] or case["expect"] != "success"
    except (HelloProtocolError, HelloUntrustedError) as error:
        cause = error.cause.name
    assert cause == case["expect"]
    if cause == "success":
        assert responder.done is not None
        assert responder.done.transcript.hex() == case["transcript"]
        assert responder.done.id_public == people.BOB.id.public
        assert responder.done.have == ((people.OUTBOX, 0, 41),)


@pytest.mark.parametrize("case", cases("keys"))
def test_keys(case: Case) -> None:
    seed, public, prekey = unhex(case, "seed", "ed25519", "prekey")
    assert Ed25519KeyPair.from_seed(seed).public == public
    assert X25519KeyPair.from_seed(seed).public.hex() == case["x25519"]
    assert keys.peer_id(public) == case["peer_id"]
    assert keys.transport_public(case["peer_id"]) == public
    assert keys.prekey_id(prekey).hex() == case["prekey_id"]
    assert keys.fingerprint(public) == case["fingerprint"]
    assert keys.derive(seed, labels.DERIVE_LEAF_KEY, b"context").hex() == case["derived"]
