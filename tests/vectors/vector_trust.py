"""Vectors of key statements, tickets, HELLO and what is derived from keys."""

from __future__ import annotations

from typing import Any

from vector_people import ALICE, BOB, CREATED_S, OUTBOX, Case, case, flip, seed

from peerpost.crypto import invite, keys, labels, statement
from peerpost.crypto.keys import X25519KeyPair
from peerpost.protocol.hello import Hello, HelloPolicy, Role
from peerpost.wire.statement import KeyStatement, Prekey, TransportKey, encode_statement
from peerpost.wire.ticket import Ticket


def make_statements() -> list[Case]:
    """Key statements as body and signature, one after the other."""

    def bad(name: str, expect: str, **changes: Any) -> Case:
        fields: dict[str, Any] = {
            "id_public": ALICE.id.public,
            "seq": 1,
            "prev": bytes(32),
            "ik": ALICE.ik.public,
            "tk": (TransportKey(ALICE.tk.public, 0, ()),),
            "created_s": CREATED_S,
        }
        signed = statement.sign(encode_statement(KeyStatement(**{**fields, **changes})), ALICE.id)
        return case(name, expect, signed.body + signed.sig)

    good = ALICE.signed.body + ALICE.signed.sig
    two = (TransportKey(ALICE.tk.public, 0, ()), TransportKey(ALICE.tk.public, 5, ()))
    foreign = ALICE.id.sign(labels.SIGN_HELLO, ALICE.body)
    return [
        case("alice", "success", good, digest=statement.digest(ALICE.body)),
        case("bob", "success", BOB.signed.body + BOB.signed.sig, digest=statement.digest(BOB.body)),
        bad("minimal", "success"),
        bad("unknown flags", "success", flags=1 << 31),
        case("body changed", "bad signature", flip(good, 10)),
        case("signature changed", "bad signature", flip(good, -64)),
        case("signed for HELLO", "bad signature", ALICE.body + foreign),
        bad("version 2", "bad statement", version=2),
        bad("seq 0", "bad statement", seq=0),
        bad("first that follows another", "bad statement", prev=seed("x")),
        bad("second that follows none", "bad statement", seq=2),
        bad("no transport key", "bad statement", tk=()),
        bad("transport key twice", "bad statement", tk=two),
        bad("ik of low order", "bad statement", ik=bytes(32)),
        bad("prekey of low order", "bad statement", prekeys=(Prekey(bytes(32), 0),)),
        bad("address with a space", "bad statement", tk=(TransportKey(bytes(32), 0, ("/ip4 ",)),)),
        bad("ML-KEM key of 3 bytes", "bad statement", mlkem=b"abc"),
    ]


def make_tickets() -> list[Case]:
    """Tickets as text."""
    ticket = Ticket(
        id_public=ALICE.id.public,
        transport_public=ALICE.tk.public,
        secret=seed("invite", 16),
        expires_s=CREATED_S + 86400,
        addresses=("/ip4/192.0.2.1/tcp/4001", "/dns/alice.example/tcp/443"),
    )
    good = ticket.encode()
    fields: Case = {
        "id_public": ticket.id_public.hex(),
        "transport_public": ticket.transport_public.hex(),
        "secret": ticket.secret.hex(),
        "invite_id": invite.invite_id(ticket.secret).hex(),
        "expires_s": ticket.expires_s,
        "addresses": list(ticket.addresses),
    }
    swapped = "A" if good[50] != "A" else "B"
    bad = {
        "empty": "",
        "another prefix": "XX1" + good[3:],
        "another version": "PP2" + good[3:],
        "one character changed": good[:50] + swapped + good[51:],
        "one character missing": good[:-1],
        "two characters exchanged": good[:10] + good[11] + good[10] + good[12:],
        "not base32": good[:20] + "1" + good[21:],
        "too long": good + "A" * 200,
    }
    cases = [("as made", good), ("lower case, in lines", f" {good[:70].lower()}\n{good[70:]}\n")]
    return [
        *({"name": name, "expect": "success", "text": text_, **fields} for name, text_ in cases),
        *({"name": name, "expect": "bad ticket", "text": text_} for name, text_ in bad.items()),
    ]


class Terms(HelloPolicy):
    """Policy of the HELLO vectors."""

    def __init__(self, *, expected: bytes | None = None, secret: bytes | None = None) -> None:
        self.expected_id = expected
        self.ticket_secret = secret if expected else None
        self._secret = secret

    def invite(self, invite_id: bytes) -> bytes | None:
        return self._secret

    def have(self, id_public: bytes) -> list[tuple[bytes, int, int]]:
        return [(OUTBOX, 0, 41)]


def make_hello() -> list[Case]:
    """All four flights of a HELLO by which Bob redeems Alice's invitation."""
    secret = seed("invite", 16)
    dialer = Hello(
        role=Role.DIALER,
        me=BOB.party,
        peer_transport_public=ALICE.tk.public,
        nonce=seed("bob nonce"),
        epk=BOB.epk,
        policy=Terms(expected=ALICE.id.public, secret=secret),
    )
    responder = Hello(
        role=Role.RESPONDER,
        me=ALICE.party,
        peer_transport_public=BOB.tk.public,
        nonce=seed("alice nonce"),
        epk=ALICE.epk,
        policy=Terms(secret=secret),
    )
    responder.start()
    flights = [dialer.start()]
    flights.append(responder.receive(flights[0]))
    flights.append(dialer.receive(flights[1]))
    responder.receive(flights[2])
    flights.append(responder.answer())
    dialer.receive(flights[3])
    if dialer.done is None or responder.done is None:
        raise RuntimeError("HELLO did not finish")
    fields: Case = {
        "dialer_id_seed": BOB.id.seed.hex(),
        "responder_id_seed": ALICE.id.seed.hex(),
        "dialer_epk_secret": BOB.epk.secret.hex(),
        "responder_epk_secret": ALICE.epk.secret.hex(),
        "invite_secret": secret.hex(),
        "flights": [flight.hex() for flight in flights],
        "transcript": dialer.done.transcript.hex(),
    }
    cases = [{"name": "invitation redeemed", "expect": "success", **fields}]
    for flight, turn in ((0, "MALFORMED"), (2, "SIGNATURE")):
        changed = list(flights)
        changed[flight] = flip(flights[flight], 1 if flight == 0 else -1)
        broken = {**fields, "flights": [data.hex() for data in changed[: flight + 1]]}
        cases.append({"name": f"flight {flight + 1} changed", "expect": turn, **broken})
    return cases


def make_keys() -> list[Case]:
    """What is derived from keys for machines and for people."""
    return [
        {
            "name": name,
            "expect": "success",
            "seed": person.id.seed.hex(),
            "ed25519": person.id.public.hex(),
            "x25519": X25519KeyPair.from_seed(person.id.seed).public.hex(),
            "peer_id": keys.peer_id(person.id.public),
            "prekey_id": keys.prekey_id(person.ik.public).hex(),
            "prekey": person.ik.public.hex(),
            "fingerprint": keys.fingerprint(person.id.public),
            "safety_number": keys.safety_number(ALICE.id.public, BOB.id.public),
            "derived": keys.derive(person.id.seed, labels.DERIVE_LEAF_KEY, b"context").hex(),
        }
        for name, person in (("alice", ALICE), ("bob", BOB))
    ]
