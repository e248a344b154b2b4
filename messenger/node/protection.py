"""What opens a home: its secrets are tried, and replaced, with a wait after several wrong ones."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from peerpost.client.config import Config
from peerpost.crypto.passphrase import DEFAULT, FLOOR, Cost, calibrate
from peerpost.errors import (
    LockedError,
    PeerpostError,
    UnavailableError,
    UsageError,
    WrongPassphraseError,
)
from peerpost.store import keyfile
from peerpost.system import free_memory_bytes

from .attempts import Attempts
from .clock import SYSTEM
from .deriving import Deriving, MayWrite
from .new_home import ChosenSecrets
from .settings import Settings

__all__ = ["Protection", "cost_of", "is_protected"]

log = logging.getLogger(__name__)


def cost_of(config: Config) -> Cost:
    """Return what a try of a new passphrase costs; measuring that takes a moment. Raises ShortMemoryError.

    It measures the time of the processor: a machine that is busy just now must not get a cheap passphrase for it.
    """
    memory_bytes = config.security.kdf_memory
    if memory_bytes == "auto":
        return calibrate(SYSTEM.thread_s, free_memory_bytes())
    return Cost(memory_bytes >> 10, FLOOR.passes, FLOOR.lanes)


def is_protected(home: Path) -> bool:
    """Return whether a home has a passphrase. A keyfile that cannot be read counts as one that has."""
    try:
        return keyfile.exists(home) and keyfile.is_protected(home)
    except PeerpostError:
        return True


class Protection:
    """The keyfile of one home, with the wrong passphrases since the last right one."""

    def __init__(self, path: Path, settings: Settings, deriving: Deriving) -> None:
        self._path = path
        self._settings = settings
        self._deriving = deriving
        self._attempts = Attempts()

    async def unlock(self, secrets: Sequence[bytes]) -> bytes:
        """Return the data key, by the first of these that fits; a low cost is raised.

        Raises LockedError if none does, or too many were wrong before, and what `keyfile.unlock` raises.
        """
        memory_bytes = self._settings.now.security.kdf_memory
        wanted = DEFAULT if memory_bytes == "auto" else cost_of(self._settings.now)
        return await self._by(
            secrets,
            lambda secret, may_write: keyfile.unlock(
                self._path, secret, cost=wanted, may_write=may_write
            ),
        )

    async def check(self, secrets: Sequence[bytes]) -> None:
        """Try these, and change nothing. Raises as `change` does."""
        self.require(is_protected=True)
        await self._by(
            secrets,
            lambda secret, may_write: keyfile.unlock(self._path, secret, may_write=may_write),
        )

    async def change(self, secrets: Sequence[bytes], chosen: ChosenSecrets) -> None:
        """Seal the data key under what is chosen; a recovery code that is not chosen stays as it is.

        Raises as `unlock` does, and UsageError if there is no passphrase.
        """
        self.require(is_protected=True)
        new = {"passphrase": chosen.passphrase, "recovery": chosen.recovery}
        given = {kind: secret for kind, secret in new.items() if secret is not None}
        cost = await self._deriving.run(lambda _: cost_of(self._settings.now))
        await self._by(
            secrets,
            lambda secret, may_write: keyfile.replace_slots(
                self._path, secret, given, cost=cost, may_write=may_write
            ),
        )
        # The new one is tried at once, so that nothing that the old one opens is kept for longer than that. A node that
        # leaves keeps it until the next unlock.
        with suppress(UnavailableError):
            await self._deriving.run(
                lambda may_write: keyfile.unlock(self._path, chosen.passphrase, may_write=may_write)
            )

    async def keep_in_keyring(self, secrets: Sequence[bytes], kept: bytes | None) -> None:
        """Let a secret that the keyring of the system keeps open the home too, or none any more.

        Raises as `change` does.
        """
        self.require(is_protected=True)
        slot = {"keyring": kept}
        await self._by(
            secrets,
            lambda secret, may_write: keyfile.replace_slots(
                self._path, secret, slot, may_write=may_write
            ),
        )

    async def draft(self, chosen: ChosenSecrets) -> keyfile.NextKeyfile:
        """Return a keyfile with another data key, in clear if nothing is chosen. Nothing is written."""

        def make(_: MayWrite) -> keyfile.NextKeyfile:
            cost = None if chosen.passphrase is None else cost_of(self._settings.now)
            return keyfile.draft(
                self._path, passphrase=chosen.passphrase, recovery=chosen.recovery, cost=cost
            )

        return await self._deriving.run(make)

    def require(self, *, is_protected: bool) -> None:
        """Raise UsageError if the home has a passphrase, or has none."""
        if keyfile.is_protected(self._path) is is_protected:
            return
        if is_protected:
            raise UsageError(
                "the home has no passphrase", hint="set one: peerpost identity passphrase set"
            )
        raise UsageError(
            "the home has a passphrase already",
            hint="give it another: peerpost identity passphrase change",
        )

    async def _by(
        self, secrets: Sequence[bytes], work: Callable[[bytes, MayWrite], bytes]
    ) -> bytes:
        self._attempts.begin()
        for secret in secrets:
            try:
                # A derivation takes about a second, and libargon2 lets other threads run meanwhile.
                done = await self._deriving.run(functools.partial(work, secret))
            except WrongPassphraseError:
                if secret is not secrets[-1]:
                    continue
                self._attempts.failed()
                # A line in the log would be a byte on the disk.
                log.debug("a passphrase was wrong")
                raise
            self._attempts.succeeded()
            return done
        raise LockedError("the home has a passphrase, and none was given")
