"""Each transition of a message, a file, a contact, an invitation and a limit leaves its row in the journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peerpost.store.db.journal import Transition
from peerpost.store.tables import (
    contacts,
    deletion,
    endings,
    inbox,
    invites,
    limits,
    outbox,
    transfers,
)
from peerpost.wire import inner as wire
from tests.support import replay
from tests.support.journal_rig import FILE, Row, rows, send_file, told
from tests.support.store_rig import NOW_MS, Rig, chain, message, offer, public_of, statement_of

FINISH = wire.Finish(file_id=FILE, size=1000, count=1, root=bytes(32))


def receive_offer(rig: Rig, contact_id: str) -> transfers.Transfer:
    made = message(1, kind=wire.Kind.OFFER, body=offer(FILE), lane=1)
    assert told(rig, inbox.receive_many, contact_id, [made], NOW_MS) == [
        ("download", None, "offered", None)
    ]
    (row,) = rig.read(transfers.of_contact, contact_id)
    return row


def test_a_text_that_we_send(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    first, second, third = (rig.queue(bob, expires_ms=NOW_MS + 1) for _ in range(3))
    (*_, row) = rows(rig)
    assert row == Transition(
        id=row.id, at_ms=row.at_ms, kind="entry", subject=third.id, contact_id=bob,
        before=None, after="queued", what=None,
    )  # fmt: skip
    assert told(rig, outbox.mark_sent, [first.row_id]) == [("entry", "queued", "sent", None)]
    assert told(rig, outbox.mark_sent, [first.row_id]) == []
    rig.acknowledge(first, 1)
    assert rows(rig)[-1].after == "delivered"
    # A delivery has the time that the outbox has.
    assert rows(rig)[-1].at_ms == rig.read(outbox.find, first.id).delivered_ms == NOW_MS + 1
    assert told(rig, outbox.cancel, second.id) == [("entry", "queued", "cancelled", None)]
    assert told(rig, outbox.cancel, second.id) == []
    assert told(rig, outbox.expire, NOW_MS + 2) == [("entry", "queued", "expired", None)]
    rig.acknowledge(third, 3)
    assert told(rig, outbox.forget, bob) == [
        ("entry", "delivered", None, None),
        ("entry", "cancelled", None, None),
        ("entry", "expired", None, None),
    ]


def test_a_text_that_we_receive(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    new = ("item", None, "unread", None)
    assert told(rig, inbox.receive_many, bob, chain(2), NOW_MS) == [new, new]
    assert told(rig, inbox.receive_many, bob, chain(2), NOW_MS) == []
    (first, _) = rig.read(
        inbox.list_items, contact_id=None, unread=True, limit=9, since_ms=None, oldest=True
    )
    assert told(rig, inbox.mark, [first.id], unread=False) == [("item", "unread", "read", None)]
    assert told(rig, inbox.mark, [first.id], unread=False) == []
    assert told(rig, inbox.mark, [first.id], unread=True) == [("item", "read", "unread", None)]
    assert told(rig, deletion.delete, [first.id], None, NOW_MS) == [("item", "unread", None, None)]


def test_a_file_that_we_send(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    assert told(rig, send_file, bob) == [
        ("upload", None, "offered", None),
        ("entry", None, "queued", None),
    ]
    (row,) = rig.read(transfers.of_contact, bob)
    assert told(rig, transfers.activate, row.id) == [("upload", "offered", "active", None)]
    assert told(rig, transfers.set_peer_pause, row.id, "full") == [
        ("upload", "active", "active", "peer")
    ]
    assert told(rig, transfers.set_state, row.id, "paused", "by the user") == [
        ("upload", "active", "paused", "reason")
    ]
    assert told(rig, endings.delivered, bob, FILE, NOW_MS) == [
        ("upload", "paused", "done", "reason"),
        ("entry", "queued", "delivered", None),
    ]
    assert told(rig, endings.delivered, bob, FILE, NOW_MS) == []


def test_a_file_that_we_offer_again(rig: Rig) -> None:
    """Only its number changes: whoever follows the journal must not see another entry, or lose this one."""
    bob = rig.make_contact("bob").id
    rig.write(send_file, bob)
    (entry,) = rig.read(outbox.unsettled, bob, 1, 0, 9)
    rig.write(outbox.mark_sent, [entry.row_id])
    rig.acknowledge(entry, 1)
    later = rig.queue(bob, lane=1)
    assert told(rig, outbox.offer_again, bob) == []
    waiting = rig.read(outbox.unsettled, bob, 1, 0, 9)
    assert [(one.id, one.seq, one.state) for one in waiting] == [
        (later.id, 2, "queued"),
        (entry.id, 3, "sent"),
    ]
    sent_again = wire.decode(waiting[1].inner)
    assert isinstance(sent_again, wire.Message)
    assert (sent_again.seq, sent_again.body) == (3, offer(FILE))
    rig.read(replay.check)


def test_a_file_of_ours_that_is_refused(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    rig.write(send_file, bob)
    assert told(rig, endings.ended, bob, FILE, "refused", "no", transfer=("failed", "no")) == [
        ("upload", "offered", "failed", "reason"),
        ("entry", "queued", "refused", None),
    ]


def test_a_file_that_we_receive(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    row = receive_offer(rig, bob)
    assert told(rig, transfers.ask, bob, 10) == [("download", "offered", "asking", None)]
    assert told(rig, transfers.unask, bob, 10_000) == [("download", "asking", "offered", None)]
    assert told(rig, transfers.let_come, row.id, 5) == [
        ("download", "offered", "offered", "accepted")
    ]
    assert told(rig, transfers.set_state, row.id, "active") == [
        ("download", "offered", "active", None)
    ]
    assert told(rig, transfers.set_state, row.id, "active", "no space") == [
        ("download", "active", "active", "reason")
    ]
    assert told(rig, transfers.checkpoint, row.id, b"\x01", 10, None) == []
    assert told(rig, inbox.complete_incoming, row.id, FINISH, "report.pdf", NOW_MS) == [
        ("download", "active", "done", "reason"),
        ("item", None, "unread", None),
    ]
    assert told(rig, contacts.remove, bob) == [("contact", "active", None, None)]


def test_a_file_that_is_given_up(rig: Rig) -> None:
    row = receive_offer(rig, rig.make_contact("bob").id)
    assert told(rig, transfers.end, row.id, "cancelled", "no", peer_knows=False) == [
        ("download", "offered", "cancelled", "reason")
    ]
    assert told(rig, transfers.set_state, row.id, "active") == []


def test_a_contact(rig: Rig) -> None:
    public, statement = public_of("bob"), statement_of("bob", 1)
    assert told(rig, contacts.add, name="bob", id_public=public, now_ms=NOW_MS) == [
        ("contact", None, "pending", None)
    ]
    (bob,) = rig.read(contacts.list_all)

    def change(work: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return what one change leaves, without its kind; nothing if it leaves nothing."""
        found = told(rig, work, bob.id, *args, **kwargs)
        return found[0][1:] if found else ()

    assert change(contacts.proved, statement, NOW_MS) == ("pending", "active", None)
    assert change(contacts.proved, statement, NOW_MS + 1) == ()
    assert change(contacts.touch, NOW_MS + 2) == ()
    assert change(contacts.edit, name="bobby") == ("active", "active", "renamed")
    assert change(contacts.edit, note="a friend") == ("active", "active", "edited")
    assert change(contacts.edit, note="a friend") == ()
    assert change(contacts.edit, addresses=("/ip4/192.0.2.1/tcp/1",))[2] == "edited"
    assert change(contacts.edit, accept="never")[2] == "edited"
    assert change(contacts.set_quota, 10)[2] == "edited"
    assert change(contacts.went_back, NOW_MS)[2] == "put back"
    assert change(contacts.refuses_us, NOW_MS + 10) == ("active", "removed", None)
    assert change(contacts.proved, statement, NOW_MS + 11) == ("removed", "active", None)
    assert change(contacts.verify, NOW_MS) == ("active", "active", "verified")
    other = statement_of("bob", 2)
    assert change(contacts.in_conflict, other, "two") == ("active", "changed", None)
    assert change(contacts.in_conflict, other, "three") == ("changed", "changed", "reason")
    assert change(contacts.block) == ("changed", "blocked", None)
    assert change(contacts.unblock) == ("blocked", "changed", None)
    assert change(contacts.verify, NOW_MS) == ("changed", "active", "verified")
    rig.write(limits.put, limits.RateLimit(contact_id=bob.id, up_bytes_s=5))
    assert told(rig, contacts.remove, bob.id) == [
        ("limit", "set", None, None),
        ("contact", "active", None, None),
    ]


def test_a_ticket_that_renews_and_one_that_expires(rig: Rig) -> None:
    bob = rig.make_contact("bob")
    ticket = {"ticket_secret": bytes(16), "ticket_expires_s": NOW_MS // 1000}
    again = {"name": "bob", "id_public": public_of("bob"), "now_ms": NOW_MS}
    assert told(rig, contacts.add, **again, **ticket) == [
        ("contact", "active", "pending", "ticket")
    ]
    assert told(rig, contacts.expire, bob.id, "too late", NOW_MS) == [
        ("contact", "pending", "expired", None)
    ]
    assert told(rig, contacts.expire, bob.id, "too late", NOW_MS) == []


def test_an_invitation(rig: Rig) -> None:
    def create(number: int, name: str) -> list[Row]:
        invite, secret = bytes([number]) * 8, bytes(16)
        return told(rig, invites.create, invite, secret, name, NOW_MS // 1000 + 60, NOW_MS)

    new = ("invite", None, "open", None)
    assert [create(number, f"guest {number}") for number in range(4)] == [[new]] * 4
    assert rows(rig)[-1].subject == "03" * 8
    assert told(rig, invites.redeem, bytes(8), public_of("guest"), NOW_MS) == [
        ("invite", "open", "used", None),
        ("contact", None, "active", None),
    ]
    assert told(rig, invites.burn, b"\x01" * 8, NOW_MS, "by another") == [
        ("invite", "open", "refused", "reason")
    ]
    assert told(rig, invites.redeem, b"\x02" * 8, public_of("guest"), NOW_MS) == [
        ("invite", "open", "used", None),
        ("invite", "used", "refused", "reason"),
    ]
    assert told(rig, invites.withdraw, "0303", NOW_MS) == [("invite", "open", None, None)]


def test_a_limit(rig: Rig) -> None:
    row = limits.RateLimit(up_bytes_s=5)
    assert told(rig, limits.put, row) == [("limit", None, "set", None)]
    assert rows(rig)[-1].subject == ""
    assert told(rig, limits.put, row) == []
    assert told(rig, limits.put, limits.RateLimit(up_bytes_s=6)) == [
        ("limit", "set", "set", "edited")
    ]
    assert rig.read(limits.list_all) == [limits.RateLimit(up_bytes_s=6)]
