"""The node that serves a home, as the methods of the control socket see it that need no open home."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol

from peerpost.client.config import Config
from peerpost.store.db.rekey import OnProgress
from peerpost.store.files.backup import Manifest

from .new_home import ChosenSecrets
from .opened import Opened
from .reloading import Reloaded

__all__ = ["Host"]


class Host(Protocol):
    """The node that serves a home, as the methods see it that need no identity."""

    @property
    def config(self) -> Config:
        """The settings in force."""

    async def reload(self) -> Reloaded:
        """Read the configuration anew, and apply what can be. Raises ConfigError, with nothing changed."""

    def opened(self) -> Opened:
        """Return the open home. Raises NoIdentityError while there is no identity, LockedError while it is locked."""

    @property
    def locked(self) -> bool:
        """Whether the home has an identity, and its key is not here."""

    @property
    def protected(self) -> bool:
        """Whether the home has a passphrase."""

    async def create_identity(self, name: str, chosen: ChosenSecrets | None = None) -> None:
        """Make the identity of an empty home and go online. Raises ExistsError."""

    async def unlock(self, secrets: Sequence[bytes]) -> None:
        """Open a locked home by one of these; of an open one they are only tried. Raises LockedError, StorageError."""

    async def lock(self, why: str) -> None:
        """Close the home and forget its key; the node stays. Raises UsageError if it has no passphrase."""

    async def check_secrets(self, secrets: Sequence[bytes]) -> None:
        """Return if one of these opens the home; nothing changes. Raises LockedError, UsageError."""

    async def change_secrets(self, secrets: Sequence[bytes], chosen: ChosenSecrets) -> None:
        """Give it another passphrase, by one of the secrets that it has. Raises LockedError, UsageError."""

    async def keep_in_keyring(self, secrets: Sequence[bytes], kept: bytes | None) -> None:
        """Let a secret of the keyring open it too, or none any more. Raises LockedError, UsageError."""

    async def rekey(
        self, secrets: Sequence[bytes], chosen: ChosenSecrets, on_progress: OnProgress
    ) -> None:
        """Encrypt the store anew, for a first passphrase or, with nothing chosen, for none.

        Raises LockedError, UsageError, StorageError.
        """

    def restoring(
        self, source_fd: int, secret: bytes
    ) -> AsyncGenerator[tuple[int, int] | Manifest, None]:
        """Put an empty home back from a backup. Yield (bytes done, of how many), and at last what was put back."""

    async def delete_identity(self) -> list[str]:
        """Make the keyfile unreadable, and delete what is in the home; return in words what stays.

        Raises NoIdentityError, StorageError.
        """

    async def settled(self) -> None:
        """Wait until the home listens, or has said why not."""

    def status(self) -> dict[str, Any]:
        """Describe the node for `node status`."""

    def stay(self) -> None:
        """Stay, and do not leave when idle any more. Raises UnavailableError if it is leaving already."""

    def leave_unless_needed(self) -> bool:
        """Begin to leave after the request that runs. Return False if the node is to stay, or another request runs."""

    def hand_over(self) -> None:
        """Begin to leave for another node of this home. Raises AlreadyRunningError if this one is to stay."""

    def stop_soon(self, reason: str) -> None:
        """Begin to leave."""
