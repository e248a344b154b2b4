"""One HELLO from the node's side: whom to serve. The decision is stored before the peer is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from peerpost.crypto.keys import fingerprint
from peerpost.errors import (
    EquivocationError,
    NotFoundError,
    RevokedError,
    RollbackError,
    TicketError,
    UntrustedError,
)
from peerpost.protocol.hello import (
    HelloDeniedError,
    HelloPolicy,
    HelloRefusedError,
    HelloResult,
    Watermark,
)
from peerpost.store.tables import contacts, inbox, invites, lives, meetings
from peerpost.wire.hello import Refusal, RefusalCode
from peerpost.wire.life import Life, Run

if TYPE_CHECKING:
    import apsw

    from peerpost.net.interface import Connection
    from peerpost.node.services import Services

    from .handshake import Greeting

__all__ = ["Acquaintances", "Acquainted", "Book", "Known", "Meeting", "known_of"]

log = logging.getLogger(__name__)

_CODES = {
    EquivocationError: RefusalCode.EQUIVOCATION,
    RollbackError: RefusalCode.ROLLBACK,
    RevokedError: RefusalCode.REVOKED,
}
_SAID = {
    RefusalCode.EQUIVOCATION: "your identity has signed two key statements of one number: have it verified anew",
    RefusalCode.ROLLBACK: "your key statement is older than the one kept: go on after that",
    RefusalCode.REVOKED: "your identity was revoked",
}


class Acquainted(Protocol):
    """An entry of the book: a contact, and what the node does about it."""

    contact: contacts.Contact

    def turned_away(self, problem: UntrustedError) -> None:
        """Note why the contact, which has proved itself, is not served."""

    async def attach(self, connection: Connection, greeting: Greeting) -> bool:
        """Take over a connection whose HELLO is done; return False if another one stays instead."""

    async def left_at_the_door(self, error: HelloRefusedError) -> None:
        """Note that the contact connected, saw who we are, and does not go on."""


class Book(Protocol):
    """The contacts in memory, as HELLO looks them up."""

    def kept(self, contact_id: str) -> Acquainted | None:
        """Return the contact with this id, or None."""

    def add(self, contact: contacts.Contact, *, coming: bool = False) -> Acquainted:
        """Begin to serve a contact that was stored just now, or take what has changed about one."""

    def update(self, contact: contacts.Contact) -> Acquainted | None:
        """Take what has changed about a contact; return None if it was removed meanwhile."""


class Known(NamedTuple):
    """What the store knows of a contact that HELLO says."""

    marks: Sequence[inbox.Mark]
    """How far we have got in what it sent."""
    run: Run | None
    """The last run of its home that was in a session with ours."""


def known_of(db: apsw.Connection, contact_id: str) -> Known:
    """Return what HELLO says to a contact of what we know of it."""
    return Known(inbox.watermarks(db, contact_id), lives.last_met(db, contact_id))


class Acquaintances(HelloPolicy):
    """The identities and invitations that HELLO may ask for without I/O."""

    def __init__(
        self,
        *,
        knows: Callable[[bytes], bool],
        invitations: Mapping[bytes, bytes],
        expected: contacts.Contact | None = None,
    ) -> None:
        """Take the contacts and the secrets by invite id; for a dialer, also whom it dials, before `look_up`."""
        self._knows = knows
        self._invitations = invitations
        self._have: Sequence[Watermark] = ()
        self._tops: Sequence[tuple[int, bytes]] | None = None
        self._life: Life | None = None
        if expected is not None:
            self.expected_id = expected.id_public
            self.ticket_secret = expected.ticket_secret if expected.state == "pending" else None
            self.ticket_transport = next(iter(expected.transport_publics), None)
            if expected.renewing:
                self.ticket_transport = expected.ticket_transport

    def known(self, id_public: bytes) -> bool:
        """Return whether this identity is a contact that is not blocked."""
        return self._knows(id_public)

    def invite(self, invite_id: bytes) -> bytes | None:
        """Return the secret of a live invitation."""
        return self._invitations.get(invite_id)

    def have(self, id_public: bytes) -> Sequence[Watermark]:  # noqa: ARG002 - a dialer knows whom it calls
        """Return how far we have got in what this identity sent."""
        return self._have

    def tops(self, id_public: bytes) -> Sequence[tuple[int, bytes]] | None:  # noqa: ARG002
        """Return the highest number that we hold of each of those lanes, with its link."""
        return self._tops

    def life(self, id_public: bytes) -> Life | None:  # noqa: ARG002
        """Return our run, and the last run of the other end's home that we know."""
        return self._life

    def look_up(self, known: Known, run: Run) -> Sequence[Watermark]:
        """Take what we know of the other end, and our run; return the part that HELLO says in `have`."""
        self._have = [(mark.outbox_id, mark.lane, mark.watermark) for mark in known.marks]
        self._tops = [(mark.top, mark.top_link) for mark in known.marks]
        self._life = Life(run, known.run)
        return self._have


class Meeting:
    """Decides about one end that has proved itself, and stores the decision."""

    def __init__(self, services: Services, book: Book, policy: Acquaintances, run: Run) -> None:
        """Take the policy, which says whom HELLO may serve, the book in which peers are looked up, and our run."""
        self._services = services
        self._run = run
        self._book = book
        self.policy = policy
        self._peer: Acquainted | None = None

    @property
    def peer(self) -> Acquainted:
        """The contact, once it was decided to serve it."""
        if self._peer is None:
            raise UntrustedError("nobody has proved itself")
        return self._peer

    async def decide(self, result: HelloResult) -> Sequence[Watermark]:
        """Decide about the peer that has proved itself, and store that; return how far we have got in what it sent.

        Raises HelloDeniedError if we do not serve it, StorageError if nothing can be stored now.
        """
        store = self._services.store
        try:
            met = await store.write(
                meetings.met,
                result.id_public,
                result.signed,
                result.invite_id,
                self._services.clock.now_ms(),
            )
        except invites.AnotherGuestError as error:
            raise await self._another_guest(result, error) from None
        except TicketError as error:
            told = Refusal(code=RefusalCode.TICKET, reason=error.message)
            raise HelloDeniedError(error.message, told) from None
        except (UntrustedError, NotFoundError) as error:
            raise HelloDeniedError(error.message) from None
        contact = met.contact
        known = self._book.kept(contact.id)
        before = None if known is None else known.contact.state
        book = self._book
        peer = book.add(contact, coming=True) if met.joined else book.update(contact)
        if peer is None:
            # It was removed, or is not in memory yet; its next try will find the right state.
            told = Refusal(code=RefusalCode.NOT_NOW, reason="try again later")
            raise HelloDeniedError("the contact comes or goes just now", told)
        if before != contact.state:
            log.info("%s is %s", contact.name, contact.state)
        if met.problem is not None:
            raise self._denied(peer, met.problem)
        self._peer = peer
        return self.policy.look_up(await store.read(known_of, contact.id), self._run)

    async def _another_guest(
        self, result: HelloResult, error: invites.AnotherGuestError
    ) -> HelloDeniedError:
        """Use up an invitation whose name another contact has, and tell the user and the guest why.

        Making another ticket is little trouble; admitting the guest under a name that nobody chose might do harm.
        """
        store, invite_id = self._services.store, result.invite_id or b""
        why = f"used by another identity ({fingerprint(result.id_public)}), which was turned away"
        name = await store.write(invites.burn, invite_id, self._services.clock.now_ms(), why)
        log.warning("an invitation for %s was %s", name, why)
        reason = (
            "the invitation renews a contact that has another identity: ask for one for yourself"
        )
        return HelloDeniedError(error.message, Refusal(code=RefusalCode.TICKET, reason=reason))

    def _denied(self, peer: Acquainted, problem: UntrustedError) -> HelloDeniedError:
        """Say what speaks against a contact: here, to the user, and to itself."""
        code = next((code for kind, code in _CODES.items() if isinstance(problem, kind)), None)
        peer.turned_away(problem)
        if code is None:
            return HelloDeniedError(problem.message)
        kept = peer.contact.signed
        refusal = Refusal(
            code=code,
            reason=_SAID[code],
            statement=None if kept is None else kept.body,
            statement_sig=None if kept is None else kept.sig,
        )
        return HelloDeniedError(problem.message, refusal)
