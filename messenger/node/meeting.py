"""Whom HELLO may serve, looked up before it starts so that its machine needs no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from peerpost.protocol.hello import Policy, Watermark

__all__ = ["Acquaintances"]


class Acquaintances(Policy):
    """The identities and invitations of one moment."""

    def __init__(
        self,
        *,
        known: frozenset[bytes],
        invitations: Mapping[bytes, bytes],
        have: Mapping[bytes, Sequence[Watermark]],
        tops: Mapping[bytes, Sequence[tuple[int, bytes]]] | None = None,
        expected_id: bytes | None = None,
        ticket_secret: bytes | None = None,
        ticket_transport: bytes | None = None,
    ) -> None:
        """Take identities, secrets by invite id, watermarks by identity, and for a dialer whom it wants."""
        self._known = known
        self._invitations = invitations
        self._have = have
        self._tops = tops or {}
        self.expected_id = expected_id
        self.ticket_secret = ticket_secret
        self.ticket_transport = ticket_transport

    def known(self, id_public: bytes) -> bool:
        """Tell whether this identity is a contact that is not blocked."""
        return id_public in self._known

    def invite(self, invite_id: bytes) -> bytes | None:
        """Return the secret of a live invitation."""
        return self._invitations.get(invite_id)

    def have(self, id_public: bytes) -> Sequence[Watermark]:
        """Return how far we have got in what this identity sent."""
        return self._have.get(id_public, ())

    def tops(self, id_public: bytes) -> Sequence[tuple[int, bytes]] | None:
        """Return the highest number held of each of those lanes, with its link."""
        return self._tops.get(id_public)
