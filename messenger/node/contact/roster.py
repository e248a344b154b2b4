"""The contacts in memory: by id, by name, by identity, and by the peer ids that each claims to have.

A peer id alone does not identify a contact, because anybody may list anybody's key in a statement. So for each peer id
all contacts are kept that claim it, and HELLO finds out which one it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from peerpost.store.tables.contacts import Contact

from .reach import peer_ids

if TYPE_CHECKING:
    from .peer import Peer

__all__ = ["Roster"]


class Roster:
    """All contacts, each with its Peer."""

    def __init__(self) -> None:
        self.peers: dict[str, Peer] = {}
        self.former: dict[str, str] = {}
        """The names of contacts that were removed, by id."""
        self._names: dict[str, str] = {}
        self._identities: dict[bytes, str] = {}
        self._claims: defaultdict[str, set[str]] = defaultdict(set)

    def put(self, peer: Peer, contact: Contact) -> None:
        """Take a contact, new or changed."""
        self._forget(peer.contact)
        peer.contact = contact
        self.peers[contact.id] = peer
        self._names[contact.name] = contact.id
        self._identities[contact.id_public] = contact.id
        for peer_id in peer_ids(contact):
            self._claims[peer_id].add(contact.id)

    def forget(self, contact_id: str) -> None:
        """Forget the name of a contact that was removed, unless it has been added again."""
        self.former.pop(contact_id, None)

    def pop(self, contact_id: str) -> Peer | None:
        """Remove and return a contact; None if there is none."""
        peer = self.peers.pop(contact_id, None)
        if peer is not None:
            self._forget(peer.contact)
            self.former[contact_id] = peer.contact.name
        return peer

    def _forget(self, contact: Contact) -> None:
        if self._names.get(contact.name) == contact.id:
            del self._names[contact.name]
        self._identities.pop(contact.id_public, None)
        for peer_id in peer_ids(contact):
            claims = self._claims[peer_id]
            claims.discard(contact.id)
            if not claims:
                del self._claims[peer_id]

    def named(self, name: str) -> Contact | None:
        """Return the contact of exactly this name, or None."""
        contact_id = self._names.get(name)
        return None if contact_id is None else self.peers[contact_id].contact

    def name_of(self, contact_id: str) -> str | None:
        """Return the name of a contact; of a removed one, in a form that no name of a contact can have."""
        if (peer := self.peers.get(contact_id)) is not None:
            return peer.contact.name
        former = self.former.get(contact_id)
        return former if former is None or former not in self._names else f"{former} (removed)"

    def knows(self, id_public: bytes) -> bool:
        """Return whether this identity is a contact that is not blocked."""
        contact_id = self._identities.get(id_public)
        return contact_id is not None and self.peers[contact_id].contact.state != "blocked"

    def claimants(self, peer_id: str) -> Iterable[str]:
        """Return the ids of all contacts that claim a peer id."""
        return self._claims.get(peer_id, ())
