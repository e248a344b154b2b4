"""Contacts and invitations: who is who, one name each, and what survives a removal."""

from __future__ import annotations

from typing import Any

import pytest

from peerpost.errors import (
    AmbiguousError,
    EquivocationError,
    ExistsError,
    NoIdentityError,
    NotFoundError,
    RevokedError,
    RollbackError,
    TicketError,
    UntrustedError,
)
from peerpost.store.tables import contacts, counts, identity, inbox, invites, meetings, transfers
from peerpost.store.tables import entries as store_entries
from peerpost.store.tables.invites import AnotherGuestError
from peerpost.wire import inner as wire
from peerpost.wire.statement import FLAG_REVOKED, Signed
from tests.support.store_rig import NOW_MS, Rig, chain, public_of, statement_of

INVITE, SECRET = bytes(8), bytes([5]) * 16
NOW_S = NOW_MS // 1000


def meet(
    rig: Rig, name: str, signed: Signed, invite_id: bytes | None = None, at_ms: int = NOW_MS
) -> meetings.Met:
    return rig.write(meetings.met, public_of(name), signed, invite_id, at_ms)


def by_ticket(rig: Rig, name: str, identity_name: str | None = None) -> contacts.Contact:
    return rig.write(
        contacts.add,
        name=name,
        id_public=public_of(identity_name or name),
        transport_public=bytes([3]) * 32,
        addresses=("/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/2"),
        ticket_secret=SECRET,
        ticket_expires_s=NOW_S + 60,
        now_ms=NOW_MS,
    )


# -- adding, finding, editing


def test_a_contact_by_ticket_is_pending_until_met(rig: Rig) -> None:
    added = by_ticket(rig, "bob")
    assert (added.state, added.ticket_secret, added.signed) == ("pending", SECRET, None)
    assert added.transport_publics == (bytes([3]) * 32,)
    assert added.addresses == ("/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/2")
    signed = statement_of("bob", 1)
    met = meet(rig, "bob", signed, at_ms=NOW_MS + 1).contact
    assert (met.state, met.ticket_secret, met.ticket_expires_s) == ("active", None, None)
    assert (met.signed, met.last_seen_ms) == (signed, NOW_MS + 1)
    assert met.addresses[0] == "/ip4/192.0.2.7/tcp/4001"
    assert met.transport_publics != (bytes([3]) * 32,)


def test_secrets_are_not_shown_by_accident(rig: Rig) -> None:
    assert SECRET.hex() not in repr(by_ticket(rig, "bob"))
    assert repr(SECRET) not in repr(by_ticket(rig, "bob"))
    assert "seed" not in repr(rig.read(identity.load))


def test_a_new_ticket_for_a_contact_not_met_replaces_the_old(rig: Rig) -> None:
    first = by_ticket(rig, "bob")
    rig.write(contacts.set_state, first.id, "expired")
    again = by_ticket(rig, "bob")
    assert (again.id, again.state) == (first.id, "pending")


def test_one_name_and_one_identity_each(rig: Rig) -> None:
    bob = by_ticket(rig, "bob")
    with pytest.raises(ExistsError, match="named 'bob'"):
        by_ticket(rig, "bob", "somebody else")
    with pytest.raises(ExistsError, match="your contact 'bob'"):
        by_ticket(rig, "robert", "bob")
    rig.write(contacts.set_state, bob.id, "active")
    with pytest.raises(ExistsError, match="your contact 'bob'"):
        rig.write(contacts.add, name="bob", id_public=bob.id_public, now_ms=NOW_MS)
    assert by_ticket(rig, "bob").id == bob.id
    assert len(rig.read(contacts.list_all)) == 1


def test_somebody_invited_is_not_a_contact_yet_and_the_error_says_so(rig: Rig) -> None:
    rig.write(invites.create, INVITE, SECRET, "carol", NOW_S + 60, NOW_MS)
    with pytest.raises(NotFoundError, match="carol has not used the invitation yet"):
        rig.read(contacts.find, "carol")


def test_found_by_exact_name_or_id_and_nothing_like_it(rig: Rig) -> None:
    bob = rig.make_contact("bob")
    rig.make_contact("Alice")
    assert rig.read(contacts.find, "bob") == bob
    assert rig.read(contacts.find, bob.id) == bob
    for text, near in (("bobb", "bob"), ("alice", "Alice"), ("Bob", "bob")):
        with pytest.raises(NotFoundError) as caught:
            rig.read(contacts.find, text)
        assert f"did you mean '{near}'?" in str(caught.value.hint)
    with pytest.raises(NotFoundError):
        rig.read(contacts.find, "")
    assert [contact.name for contact in rig.read(contacts.list_all)] == ["Alice", "bob"]


def test_a_name_goes_before_an_id(rig: Rig) -> None:
    bob = rig.make_contact("bob")
    for number in range(3):
        rig.make_contact(f"other {number}")
    impostor = rig.make_contact("carol")
    rig.write(contacts.edit, impostor.id, name=bob.id)
    assert rig.read(contacts.find, bob.id).id == impostor.id


def test_by_public(rig: Rig) -> None:
    bob = rig.make_contact("bob")
    assert rig.read(contacts.by_public, public_of("bob")) == bob
    assert rig.read(contacts.by_public, public_of("carol")) is None


def test_edit_changes_what_is_given_and_nothing_else(rig: Rig) -> None:
    bob = by_ticket(rig, "bob")
    rig.make_contact("carol")
    changed = rig.write(contacts.edit, bob.id, note="from work")
    assert (changed.name, changed.note, changed.given_addresses) == (
        "bob",
        "from work",
        bob.given_addresses,
    )
    changed = rig.write(contacts.edit, bob.id, name="robert", addresses=())
    assert (changed.name, changed.note, changed.given_addresses) == ("robert", "from work", ())
    with pytest.raises(ExistsError):
        rig.write(contacts.edit, bob.id, name="carol", note="not kept")
    assert rig.read(contacts.find, "robert").note == "from work"
    assert rig.write(contacts.edit, bob.id, name="robert").name == "robert"


def test_changes_to_a_contact_that_is_gone(rig: Rig) -> None:
    for work, args in (
        (contacts.set_state, ("nobody", "active")),
        (contacts.edit, ("nobody",)),
    ):
        with pytest.raises(NotFoundError):
            rig.write(work, *args)  # type: ignore[operator, arg-type]
    rig.write(contacts.touch, "nobody", NOW_MS)
    rig.write(contacts.remove, "nobody")


# -- statements


def test_a_newer_statement_is_kept_and_others_are_not(rig: Rig) -> None:
    rig.make_contact("bob")
    first = statement_of("bob", 1)
    second = statement_of("bob", 2, first)
    meet(rig, "bob", first)
    assert meet(rig, "bob", second).contact.signed == second
    back = meet(rig, "bob", first, at_ms=NOW_MS + 5)
    assert isinstance(back.problem, RollbackError)
    assert (back.contact.state, back.contact.went_back_ms) == ("active", NOW_MS + 5)
    assert back.contact.signed == second
    revoked = statement_of("bob", 3, second, FLAG_REVOKED)
    meet(rig, "bob", revoked)
    assert isinstance(meet(rig, "bob", statement_of("bob", 4, revoked)).problem, RevokedError)
    assert rig.read(contacts.find, "bob").signed == revoked


@pytest.mark.parametrize("seq", [2, 3])
def test_equivocation_is_remembered_until_the_user_has_verified(rig: Rig, seq: int) -> None:
    bob = rig.make_contact("bob")
    first = statement_of("bob", 1)
    second = statement_of("bob", 2, first)
    meet(rig, "bob", first)
    meet(rig, "bob", second)
    rig.write(contacts.verify, bob.id, NOW_MS)
    other = statement_of("bob", seq, first if seq == 3 else statement_of("carol", 1))
    found = meet(rig, "bob", other)
    assert isinstance(found.problem, EquivocationError)
    assert (found.contact.state, found.contact.conflict) == ("changed", other)
    assert found.contact.verified_at_ms is None
    assert not found.contact.served
    # The one kept before, and a newer one, are not served either; the newest waits for the user.
    newest = statement_of("bob", 9, other)
    for signed in (second, newest, second):
        assert isinstance(meet(rig, "bob", signed).problem, EquivocationError)
    with pytest.raises(ExistsError):
        by_ticket(rig, "bob")
    assert rig.read(contacts.find, "bob").state == "changed"
    settled = rig.write(contacts.verify, bob.id, NOW_MS + 7)
    assert (settled.state, settled.signed, settled.conflict) == ("active", newest, None)
    assert settled.verified_at_ms == NOW_MS + 7
    assert meet(rig, "bob", newest).problem is None
    assert isinstance(meet(rig, "bob", second).problem, RollbackError)


def test_who_is_blocked_is_a_stranger_and_burns_no_invitation(rig: Rig) -> None:
    bob = rig.make_contact("bob", state="blocked")
    invite(rig, name="guest")
    with pytest.raises(UntrustedError):
        meet(rig, "bob", statement_of("bob", 1), INVITE)
    assert rig.read(contacts.get, bob.id) == bob
    assert rig.read(invites.secrets, NOW_MS) == {INVITE: SECRET}
    with pytest.raises(UntrustedError):
        meet(rig, "nobody", statement_of("nobody", 1))


# -- removing


def test_what_a_removed_contact_sent_stays_and_what_it_should_get_goes(rig: Rig) -> None:
    bob, carol = rig.make_contact("bob").id, rig.make_contact("carol").id
    rig.queue(bob, "for bob")
    rig.queue(carol, "for carol")
    rig.queue_file(bob, bytes(16))
    rig.write(inbox.receive_many, bob, chain(2), NOW_MS)
    rig.write(contacts.remove, bob)
    assert [contact.name for contact in rig.read(contacts.list_all)] == ["carol"]
    entries = rig.read(store_entries.list_entries, contact_id=None, pending=False, limit=10)
    assert [entry.contact_id for entry in entries] == [carol]
    assert rig.read(store_entries.depths) == {carol: 1}
    assert rig.read(transfers.of_contact, bob) == []
    (kept,) = rig.rows("SELECT count(*) FROM outbox WHERE instr(inner, CAST('for bob' AS BLOB))")
    assert kept == (0,)
    assert len(rig.read(inbox.list_items, contact_id=bob, unread=True, limit=9, since_ms=None)) == 2


def test_a_contact_that_comes_back_goes_on_with_the_numbers_it_had(rig: Rig) -> None:
    """The peer remembers our numbers: number 1 again would be taken for a duplicate, and lost."""
    bob = rig.make_contact("bob")
    sent = [rig.queue(bob.id, f"text {number}") for number in range(4)]
    rig.acknowledge(sent[0], 2)
    seen = chain(3)
    rig.write(inbox.receive_many, bob.id, seen, NOW_MS)
    rig.write(contacts.remove, bob.id)

    again = rig.make_contact("bob")
    assert again.id == bob.id
    entry = rig.queue(again.id, "after")
    assert (entry.seq, entry.outbox_id) == (5, sent[0].outbox_id)
    # What was on its way goes on as tombstones: without them the peer's watermark would stall.
    waiting = rig.unsettled(again.id)
    assert [waiter.seq for waiter in waiting] == [3, 4, 5]
    assert [waiter.state for waiter in waiting] == ["cancelled", "cancelled", "queued"]
    kinds = [getattr(wire.decode(waiter.inner), "kind", None) for waiter in waiting]
    assert kinds == [wire.Kind.SKIP, wire.Kind.SKIP, wire.Kind.TEXT]
    # And what the peer sends again is not shown again.
    received = rig.write(inbox.receive_many, again.id, [*seen, *chain(4)[3:]], NOW_MS)
    assert [item.body for item in received.items] == [b"text 4"]


def test_contact_ids_differ_between_homes(rig: Rig, tmp_path: Any) -> None:
    other_home = tmp_path / "other"
    other_home.mkdir()
    with Rig(other_home) as other:
        other.make_identity()
        assert other.make_contact("bob").id != rig.make_contact("bob").id


def test_an_id_that_is_taken_is_not_given_again(rig: Rig) -> None:
    bob = rig.make_contact("bob")
    rig.write(lambda db: db.execute("UPDATE contacts SET id_public = zeroblob(32)") and None)
    rig.write(contacts.edit, bob.id, name="somebody")
    assert rig.make_contact("bob").id != bob.id


def test_traffic_counts_what_arrived(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    entries = [rig.queue(bob) for _ in range(3)]
    rig.acknowledge(entries[0], 2)
    rig.write(inbox.receive_many, bob, chain(5), NOW_MS)
    assert rig.read(counts.count, bob) == counts.MessageCounts(sent=2, received=5)


# -- invitations


def invite(rig: Rig, invite_id: bytes = INVITE, name: str = "bob") -> contacts.Contact | None:
    return rig.write(invites.create, invite_id, SECRET, name, NOW_S + 60, NOW_MS)


def test_an_invitation_admits_one_guest_once(rig: Rig) -> None:
    invite(rig)
    assert rig.read(invites.secrets, NOW_MS) == {INVITE: SECRET}
    guest = rig.write(invites.redeem, INVITE, public_of("bob"), NOW_MS)
    assert (guest.name, guest.state) == ("bob", "active")
    assert rig.read(invites.secrets, NOW_MS) == {}
    # Our answer was lost: the same guest is let in again, another is not.
    assert rig.write(invites.redeem, INVITE, public_of("bob"), NOW_MS) == guest
    with pytest.raises(TicketError):
        rig.write(invites.redeem, INVITE, public_of("mallory"), NOW_MS)
    # Of a ticket that was used the secret is nowhere, not even beside its id.
    assert rig.rows("SELECT used_ms, secret FROM invites") == [(NOW_MS, None)]


def test_an_invitation_is_used_up_in_the_transaction_that_keeps_its_guest(rig: Rig) -> None:
    invite(rig)
    signed = statement_of("bob", 1)
    guest = meet(rig, "bob", signed, INVITE).contact
    assert (guest.state, guest.signed) == ("active", signed)
    assert rig.rows("SELECT secret FROM invites") == [(None,)]
    assert meet(rig, "bob", signed, INVITE).contact.id == guest.id
    with pytest.raises(TicketError):
        meet(rig, "mallory", statement_of("mallory", 1), INVITE)
    assert [contact.name for contact in rig.read(contacts.list_all)] == ["bob"]
    # A known contact uses one up as well.
    invite(rig, b"eightbyt", "another")
    assert meet(rig, "bob", signed, b"eightbyt").contact.name == "bob"
    assert rig.read(invites.secrets, NOW_MS) == {}


def test_only_a_contact_that_still_waits_expires(rig: Rig) -> None:
    bob = by_ticket(rig, "bob")
    assert rig.write(contacts.expire, bob.id, "late", NOW_MS) is None
    meet(rig, "bob", statement_of("bob", 1))
    assert rig.write(contacts.expire, bob.id, "late", NOW_MS + 10**9) is None
    carol = by_ticket(rig, "carol")
    expired = rig.write(contacts.expire, carol.id, "late", NOW_MS + 60_000)
    assert expired is not None
    assert (expired.state, expired.why) == ("expired", "late")
    assert rig.write(contacts.expire, "nobody", "late") is None


def test_an_invitation_ends_at_its_time(rig: Rig) -> None:
    invite(rig)
    at_ms = (NOW_S + 60) * 1000
    assert rig.read(invites.secrets, at_ms - 1) == {INVITE: SECRET}
    assert rig.read(invites.secrets, at_ms) == {}
    with pytest.raises(TicketError):
        rig.write(invites.redeem, INVITE, public_of("bob"), at_ms)
    with pytest.raises(TicketError):
        rig.write(invites.redeem, b"unknown!", public_of("bob"), NOW_MS)


def test_a_name_is_one_guests_and_no_invitation_has_another_take_it(rig: Rig) -> None:
    for number in range(3):
        assert invite(rig, bytes([number]) * 8) is None
    bob = rig.write(invites.redeem, bytes(8), public_of("guest 0"), NOW_MS)
    with pytest.raises(AnotherGuestError, match="bob, who has another identity"):
        rig.write(invites.redeem, bytes([1]) * 8, public_of("guest 1"), NOW_MS)
    assert [contact.name for contact in rig.read(contacts.list_all)] == ["bob"]
    # Nothing has changed by that: whether it is used up then is for the caller, who has to say why.
    assert rig.write(invites.burn, bytes([1]) * 8, NOW_MS, "by another") == "bob"
    assert [(one.used_ms, one.why) for one in rig.read(invites.list_all, NOW_MS)] == [
        (NOW_MS, "by another"),
        (None, None),
    ]
    # For who has the name it renews what there is.
    assert rig.write(invites.redeem, bytes([2]) * 8, public_of("guest 0"), NOW_MS) == bob
    assert invite(rig, b"eightbyt") == bob


def test_an_invitation_for_another_that_a_contact_has_used_says_so(rig: Rig) -> None:
    bob = rig.make_contact("bob")
    invite(rig, name="carol")
    assert rig.write(invites.redeem, INVITE, public_of("bob"), NOW_MS) == bob
    (used,) = rig.read(invites.list_all, NOW_MS)
    assert (used.name, used.why) == ("carol", "used by bob, who was a contact already")


def test_an_invitation_is_withdrawn_by_a_beginning_of_its_id(rig: Rig) -> None:
    invite(rig, b"one-ofem")
    invite(rig, b"one-more", "carol")
    common = b"one-".hex()
    with pytest.raises(AmbiguousError):
        rig.write(invites.withdraw, common, NOW_MS)
    for nobody in ("", "zz", "%"):
        with pytest.raises(NotFoundError):
            rig.write(invites.withdraw, nobody, NOW_MS)
    assert rig.write(invites.withdraw, b"one-m".hex().upper(), NOW_MS).name == "carol"
    assert rig.read(invites.secrets, NOW_MS) == {b"one-ofem": SECRET}
    with pytest.raises(TicketError):
        rig.write(invites.redeem, b"one-more", public_of("carol"), NOW_MS)


def test_a_contact_that_redeems_stays_who_it_is(rig: Rig) -> None:
    carol = rig.make_contact("carol")
    invite(rig)
    assert rig.write(invites.redeem, INVITE, public_of("carol"), NOW_MS) == carol
    assert rig.read(invites.secrets, NOW_MS) == {}


# -- our own identity


def test_an_identity_is_made_once_and_comes_back_as_it_was(rig: Rig) -> None:
    mine = rig.read(identity.load)
    assert (mine.name, mine.listen_port, mine.statement) == ("me", 4001, None)
    assert len({mine.id_seed, mine.ik_seed, mine.tk_seed}) == 3
    with pytest.raises(Exception, match="UNIQUE"):
        rig.write(identity.create, "me too", 1, NOW_MS)
    signed = statement_of("me", 1)
    rig.write(identity.save_statement, signed)
    loaded = rig.read(identity.load)
    assert loaded.statement == signed
    assert (loaded.id_seed, loaded.outbox_id) == (mine.id_seed, mine.outbox_id)


def test_a_store_without_identity(tmp_path: Any) -> None:
    with Rig(tmp_path) as empty, pytest.raises(NoIdentityError):
        empty.read(identity.load)
