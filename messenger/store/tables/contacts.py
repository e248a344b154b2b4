"""The people and machines that this home knows: identity, addresses and state."""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass, field

import apsw

from peerpost.errors import AmbiguousError, ExistsError, NotFoundError
from peerpost.wire.address import dialable
from peerpost.wire.statement import KeyStatement, Signed, decode_statement

from . import former, ids, outbox, transfers

__all__ = [
    "Contact",
    "add",
    "any_joining",
    "block",
    "by_name",
    "by_public",
    "edit",
    "expire",
    "find",
    "get",
    "id_of",
    "in_conflict",
    "list_all",
    "proved",
    "refuses_us",
    "remove",
    "require_renewable",
    "set_quota",
    "set_state",
    "touch",
    "unblock",
    "verify",
    "went_back",
]

_COLUMNS = (
    "id, name, shown_state, id_public, statement_body, statement_sig, transport_public, addresses,"
    " ticket_secret, ticket_expires_s, note, accept, verified_at_ms, added_ms, last_seen_ms,"
    " conflict_body, conflict_sig, went_back_ms, why"
)

REMEMBERED = 4096
"""How many contacts' parsed statements and addresses are cached: each dial needs them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One contact."""

    id: str
    name: str
    state: str
    """pending, active, removed (it has removed or blocked us), expired, changed (it has signed two statements of one
    number) or blocked."""
    id_public: bytes
    signed: Signed | None
    """Its newest key statement, once we have met."""
    ticket_transport: bytes | None
    """Transport key from the ticket or the address it was added with."""
    given_addresses: tuple[str, ...]
    """Addresses from the ticket, or set by the user."""
    ticket_secret: bytes | None = field(repr=False)
    ticket_expires_s: int | None
    note: str
    accept: str | None
    verified_at_ms: int | None
    added_ms: int
    last_seen_ms: int | None
    conflict: Signed | None = None
    """The newest statement that contradicts the one kept, until the user has verified the contact."""
    went_back_ms: int | None = None
    """When it last showed an older statement than before: it was put back from a copy."""
    why: str | None = None
    """Why it is in this state, for people."""

    @property
    def served(self) -> bool:
        """Whether messages may go to it and come from it."""
        return self.state not in ("blocked", "changed")

    @property
    def statement(self) -> KeyStatement | None:
        """What the key statement says."""
        return None if self.signed is None else _decoded(self.signed.body)

    @property
    def transport_publics(self) -> tuple[bytes, ...]:
        """Ed25519 transport keys under which the contact may answer, current first.

        For a contact that we have met, the key of a ticket comes last: it may be newer, but also forged.
        """
        statement = self.statement
        told = () if statement is None else statement.transport_publics
        if self.ticket_transport is None or (statement is not None and not self.renewing):
            return told
        return tuple(dict.fromkeys((*told, self.ticket_transport)))

    @property
    def renewing(self) -> bool:
        """Whether we have met, and a new ticket must make both sides contacts of each other again."""
        return (
            self.state == "pending" and self.signed is not None and self.ticket_secret is not None
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where to dial: what its statement says, then what the user or the ticket said."""
        return self.where(local=False)

    def where(self, *, local: bool) -> tuple[str, ...]:
        """Return the same addresses; `local` says whether a statement may name loopback and link-local ones.

        If not, only the user or the ticket may name them: a contact must not choose which local ports we connect to.
        """
        statement = self.statement
        told = () if statement is None else statement.tk[0].addresses
        local = local or any(address.is_local for address in dialable(self.given_addresses))
        return _dialable(told, self.given_addresses, local=local)


@functools.lru_cache(REMEMBERED)
def _decoded(body: bytes) -> KeyStatement:
    return decode_statement(body)


@functools.lru_cache(REMEMBERED)
def _dialable(told: tuple[str, ...], given: tuple[str, ...], *, local: bool) -> tuple[str, ...]:
    wanted = [a for a in dialable(told) if local or not a.is_local]
    return tuple(dict.fromkeys(address.text for address in (*wanted, *dialable(given))))


def _contact(row: tuple[object, ...]) -> Contact:
    (id_, name, state, id_public, body, sig, transport, addresses, *rest) = row
    secret, expires_s, note, accept, verified, added, seen, *later = rest
    other, other_sig, back, why = later
    return Contact(
        id=id_,  # type: ignore[arg-type]
        name=name,  # type: ignore[arg-type]
        state=state,  # type: ignore[arg-type]
        id_public=id_public,  # type: ignore[arg-type]
        signed=None if body is None else Signed(body=body, sig=sig),  # type: ignore[arg-type]
        ticket_transport=transport,  # type: ignore[arg-type]
        given_addresses=tuple(str(addresses).split()),
        ticket_secret=secret,  # type: ignore[arg-type]
        ticket_expires_s=expires_s,  # type: ignore[arg-type]
        note=note,  # type: ignore[arg-type]
        accept=accept,  # type: ignore[arg-type]
        verified_at_ms=verified,  # type: ignore[arg-type]
        added_ms=added,  # type: ignore[arg-type]
        last_seen_ms=seen,  # type: ignore[arg-type]
        conflict=None if other is None else Signed(body=other, sig=other_sig),  # type: ignore[arg-type]
        went_back_ms=back,  # type: ignore[arg-type]
        why=why,  # type: ignore[arg-type]
    )


def add(
    db: apsw.Connection,
    *,
    name: str,
    id_public: bytes,
    state: str = "pending",
    transport_public: bytes | None = None,
    addresses: tuple[str, ...] = (),
    ticket_secret: bytes | None = None,
    ticket_expires_s: int | None = None,
    now_ms: int,
) -> Contact:
    """Add a contact. An existing one with this identity and name takes the new ticket, and is pending until it is used.

    Raises ExistsError if another contact has the name; or if the identity is a contact already under another name,
    without a new ticket, blocked, or to be verified.
    """
    same = by_public(db, id_public)
    if same is not None:
        _require_same(same, name, ticket=ticket_secret is not None)
    named = db.execute("SELECT id_public FROM contacts WHERE name = ?", (name,)).fetchone()
    if named is not None and named[0] != id_public:
        raise ExistsError(
            f"there is a contact named {name!r} already", hint="choose another name, or remove it"
        )
    if same is not None:
        db.execute(
            "UPDATE contacts SET state = 'pending', why = NULL, transport_public = ?, addresses = ?,"
            " ticket_secret = ?, ticket_expires_s = ? WHERE id = ?",
            (
                transport_public,
                # The known addresses of a contact that we have met stay: what a ticket says is not signed.
                " ".join(
                    dict.fromkeys((*addresses, *(same.given_addresses if same.signed else ())))
                ),
                ticket_secret,
                ticket_expires_s,
                same.id,
            ),
        )
        return get(db, same.id)
    id_ = ids.contact_id(db, id_public)
    former.forget(db, id_)
    db.execute(
        "INSERT INTO contacts (id, name, state, id_public, transport_public, addresses,"
        " ticket_secret, ticket_expires_s, added_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            id_,
            name,
            state,
            id_public,
            transport_public,
            " ".join(addresses),
            ticket_secret,
            ticket_expires_s,
            now_ms,
        ),
    )
    return get(db, id_)


def _require_same(same: Contact, name: str, *, ticket: bool) -> None:
    """Raise ExistsError if a contact must not be added again."""
    if same.name != name:
        raise ExistsError(
            f"this identity is your contact {same.name!r} already",
            hint=f"a new ticket renews it by its name: peerpost contacts add {same.name} TICKET",
        )
    require_renewable(same)
    if same.state in ("active", "removed") and not ticket:
        raise ExistsError(
            f"this identity is your contact {same.name!r} already",
            hint="another address of it: peerpost contacts edit NAME --address MULTIADDR",
        )


def require_renewable(contact: Contact) -> None:
    """Raise ExistsError if no ticket may make a contact active, because the user has to decide first."""
    if not contact.served:
        way = "unblock" if contact.state == "blocked" else "verify"
        raise ExistsError(
            f"there is a contact named {contact.name!r} already, who is {contact.state}",
            hint=f"first: peerpost contacts {way} {contact.name}",
        )


def get(db: apsw.Connection, id_: str) -> Contact:
    """Return the contact with this id. Raises NotFoundError."""
    row = db.execute(f"SELECT {_COLUMNS} FROM contacts WHERE id = ?", (id_,)).fetchone()  # noqa: S608
    if row is None:
        raise NotFoundError("the contact was removed")
    return _contact(row)


def by_public(db: apsw.Connection, id_public: bytes) -> Contact | None:
    """Return the contact with this identity key, or None."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM contacts WHERE id_public = ?",  # noqa: S608
        (id_public,),
    ).fetchone()
    return None if row is None else _contact(row)


def by_name(db: apsw.Connection, name: str) -> Contact | None:
    """Return the contact of exactly this name, or None."""
    row = db.execute(f"SELECT {_COLUMNS} FROM contacts WHERE name = ?", (name,)).fetchone()  # noqa: S608
    return None if row is None else _contact(row)


def find(db: apsw.Connection, text: str) -> Contact:
    """Return a contact by its exact name or its id.

    Raises NotFoundError whose hint names the near miss: a guess could reach the wrong person.
    """
    row = db.execute(
        f"SELECT {_COLUMNS} FROM contacts WHERE name = ?1 OR id = ?1"  # noqa: S608
        " ORDER BY name = ?1 DESC",
        (text,),
    ).fetchone()
    if row is not None:
        return _contact(row)
    invited = db.execute(
        "SELECT 1 FROM invites WHERE name = ? AND used_ms IS NULL", (text,)
    ).fetchone()
    if invited is not None:
        raise NotFoundError(
            f"{text} has not used the invitation yet",
            hint="once they have added you with the ticket, they are a contact; whether it still can be"
            f" used: peerpost contacts invites; another one: peerpost contacts invite {text}",
        )
    names = [str(found[0]) for found in db.execute("SELECT name FROM contacts")]
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
    folded = [name for name in names if name.casefold() == text.casefold()]
    hint = "see: peerpost contacts list"
    if folded or near:
        hint = f"did you mean {(folded or near)[0]!r}? {hint}"
    raise NotFoundError(f"no contact named {text!r}", hint=hint)


def id_of(db: apsw.Connection, text: str) -> str:
    """Return the id of a contact by its name or id, or of a removed one that still has a history.

    Raises NotFoundError as `find` does, AmbiguousError.
    """
    try:
        return find(db, text).id
    except NotFoundError:
        found = former.ids_of(db, text)
        if not found:
            raise
    if len(found) > 1:
        hint = f"say which by its id: {', '.join(found)}"
        raise AmbiguousError(f"several removed contacts were called {text!r}", hint=hint)
    return found[0]


def list_all(db: apsw.Connection) -> list[Contact]:
    """Return all contacts by name."""
    return [
        _contact(row)
        for row in db.execute(f"SELECT {_COLUMNS} FROM contacts ORDER BY name")  # noqa: S608
    ]


def set_state(db: apsw.Connection, id_: str, state: str) -> Contact:
    """Move a contact to another state."""
    db.execute("UPDATE contacts SET state = ? WHERE id = ?", (state, id_))
    return get(db, id_)


def expire(db: apsw.Connection, id_: str, why: str, now_ms: int | None = None) -> Contact | None:
    """Mark a pending contact as expired because its ticket cannot succeed; return None if it is not pending.

    A contact that we have met returns to its state before. With now_ms, only if the ticket has expired by then.
    """
    db.execute(
        "UPDATE contacts SET state = CASE WHEN statement_body IS NULL THEN 'expired' ELSE 'active' END,"
        " ticket_secret = CASE WHEN statement_body IS NULL THEN ticket_secret END, why = ?1"
        " WHERE id = ?2 AND state = 'pending'"
        " AND ticket_secret IS NOT NULL AND (?3 IS NULL OR ticket_expires_s * 1000 <= ?3)",
        (why, id_, now_ms),
    )
    return get(db, id_) if db.changes() else None


def any_joining(db: apsw.Connection, now_ms: int) -> bool:
    """Return whether a ticket that was added has not been used yet: whoever gave it out may be away."""
    found = db.execute(
        "SELECT 1 FROM contacts WHERE state = 'pending' AND ticket_secret IS NOT NULL"
        " AND ticket_expires_s * 1000 > ? LIMIT 1",
        (now_ms,),
    )
    return found.get is not None


def block(db: apsw.Connection, id_: str) -> Contact:
    """Stop serving a contact, whatever it proves. Raises NotFoundError."""
    return set_state(db, id_, "blocked")


def unblock(db: apsw.Connection, id_: str) -> Contact:
    """Serve a blocked contact again, as active or pending depending on whether we have met. Raises NotFoundError."""
    db.execute(
        "UPDATE contacts SET state = CASE WHEN statement_body IS NULL THEN 'pending' ELSE 'active' END"
        " WHERE id = ? AND state = 'blocked'",
        (id_,),
    )
    return get(db, id_)


def touch(db: apsw.Connection, id_: str, now_ms: int) -> None:
    """Note when a contact was last online."""
    db.execute("UPDATE contacts SET last_seen_ms = ? WHERE id = ?", (now_ms, id_))


def edit(
    db: apsw.Connection,
    id_: str,
    *,
    name: str | None = None,
    note: str | None = None,
    addresses: tuple[str, ...] | None = None,
    accept: str | None = None,
) -> Contact:
    """Change our settings of a contact; None leaves a value as it is. Raises ExistsError.

    `accept` is a number of bytes, `ask`, `never`, or `default` for what holds for everybody.
    """
    if name is not None:
        taken = db.execute(
            "SELECT 1 FROM contacts WHERE name = ? AND id <> ?", (name, id_)
        ).fetchone()
        if taken is not None:
            raise ExistsError(f"there is a contact named {name!r} already")
    db.execute(
        "UPDATE contacts SET name = coalesce(?, name), note = coalesce(?, note),"
        " addresses = coalesce(?, addresses),"
        " accept = nullif(coalesce(?, accept), 'default') WHERE id = ?",
        (name, note, None if addresses is None else " ".join(addresses), accept, id_),
    )
    return get(db, id_)


def remove(db: apsw.Connection, id_: str) -> None:
    """Forget a contact and everything queued for it. What was exchanged stays, with the name that it had.

    The numbers that were given and seen stay. If they began again at 1, the peer would take new messages for ones
    that it has.
    """
    outbox.bury(db, id_)
    former.remember(db, id_)
    transfers.forget_contact(db, id_)
    db.execute("DELETE FROM contacts WHERE id = ?", (id_,))


def proved(db: apsw.Connection, id_: str, signed: Signed, now_ms: int) -> Contact:
    """Note that a contact has proved itself just now, with this statement: it is active."""
    db.execute(
        "UPDATE contacts SET statement_body = ?, statement_sig = ?, last_seen_ms = ?,"
        " ticket_secret = NULL, ticket_expires_s = NULL, state = 'active', why = NULL, removed_us_ms = NULL"
        " WHERE id = ?",
        (signed.body, signed.sig, now_ms, id_),
    )
    return get(db, id_)


def went_back(db: apsw.Connection, id_: str, now_ms: int) -> None:
    """Note that a contact came with a statement older than one that it had."""
    db.execute("UPDATE contacts SET went_back_ms = ? WHERE id = ?", (now_ms, id_))


def refuses_us(db: apsw.Connection, id_: str, asked_ms: int) -> Contact | None:
    """Note that a contact that we have met no longer serves us: it said so when it was asked, at `asked_ms`.

    Return None if that is known already, if its ticket is still being tried, or if it has served us since then.
    """
    db.execute(
        "UPDATE contacts SET removed_us_ms = ?1 WHERE id = ?2 AND state = 'active'"
        " AND statement_body IS NOT NULL AND removed_us_ms IS NULL AND coalesce(last_seen_ms, 0) <= ?1",
        (asked_ms, id_),
    )
    return get(db, id_) if db.changes() else None


def in_conflict(db: apsw.Connection, id_: str, signed: Signed, why: str) -> None:
    """Note a statement that contradicts the stored one: the user has to verify the contact."""
    db.execute(
        "UPDATE contacts SET conflict_body = ?, conflict_sig = ?, verified_at_ms = NULL, why = ?"
        " WHERE id = ?",
        (signed.body, signed.sig, why, id_),
    )


def verify(db: apsw.Connection, id_: str, now_ms: int) -> Contact:
    """Note that the user has verified a contact. If it is `changed`, its newest statement replaces the stored one."""
    db.execute(
        "UPDATE contacts SET verified_at_ms = ?, statement_body = coalesce(conflict_body, statement_body),"
        " statement_sig = coalesce(conflict_sig, statement_sig), conflict_body = NULL,"
        " conflict_sig = NULL, why = CASE WHEN conflict_body IS NULL THEN why END WHERE id = ?",
        (now_ms, id_),
    )
    return get(db, id_)


def set_quota(db: apsw.Connection, id_: str, quota_bytes: int | None) -> None:
    """Set how much one contact may take up; None means the general setting."""
    db.execute("UPDATE contacts SET quota_bytes = ? WHERE id = ?", (quota_bytes, id_))
