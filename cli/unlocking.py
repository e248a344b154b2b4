"""Unlocking a home from a command: by whatever source has its passphrase, with another try for what is typed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from peerpost.client import keyring
from peerpost.client.paths import HomePaths
from peerpost.errors import LockedError, UsageError, WrongPassphraseError

from .passphrases import HINT, Console, typed

if TYPE_CHECKING:
    from peerpost.client.connection import NodeConnection
    from peerpost.client.secrets import Secrets


__all__ = ["handed_over", "present", "unlock"]

TRIES = 3


class Locked(Console, Protocol):
    """Whose home is locked."""

    @property
    def home(self) -> Path:
        """Its folder."""


class Asking(Locked, Protocol):
    """Who asks the node, too."""

    def call(self, method: str) -> Any:
        """Ask the node. Raises the PeerpostError that it raised."""


def unlock(app: Locked, node: NodeConnection, secrets: Secrets) -> dict[str, Any] | None:
    """Unlock the home of a node. Return the node's answer, or None if no source has a passphrase.

    Raises WrongPassphraseError, and what `Secrets.find` raises.
    """
    asked, from_keyring = 0, False
    looks = True

    def look_up() -> str | None:
        nonlocal from_keyring
        found = keyring.look_up(app.home) if looks else None
        from_keyring = found is not None
        return found

    def prompt() -> str | None:
        nonlocal asked
        asked += 1
        return typed(app, f"Passphrase of {app.home}")

    while True:
        secret = secrets.find(keyring=look_up, prompt=prompt)
        if secret is None:
            return None
        try:
            answer: dict[str, Any] = node.call("identity.unlock", {"passphrase": secret.decode()})
        except WrongPassphraseError as error:
            if from_keyring:
                # Its slot may be another by now: then the next source is asked.
                looks = False
                app.terminal.warn("What the keyring keeps does not open this home any more.")
            elif 0 < asked < TRIES:
                app.terminal.warn(f"{error.message[:1].upper()}{error.message[1:]}. Try again.")
            else:
                raise
        else:
            return answer


def handed_over(app: Locked, secrets: Secrets) -> int | None:
    """Return a descriptor from which a program that takes the place of this one reads the passphrase.

    Neither its arguments nor its environment show it then. None if the home needs none, or no source has one. Raises
    what `Secrets.find` raises.
    """
    if not keyring.is_protected(app.home):
        return None
    secret = secrets.find(
        keyring=lambda: keyring.look_up(app.home),
        prompt=lambda: typed(app, f"Passphrase of {app.home} (Enter: stay locked)"),
    )
    if secret is None:
        return None
    reads, writes = os.pipe()
    # It is shorter than what a pipe takes. The line end is taken off where it is read.
    os.write(writes, secret + b"\n")
    os.close(writes)
    os.set_inheritable(reads, True)
    return reads


def present(app: Asking, secrets: Secrets) -> str:
    """Return what opens the home now. Raises UsageError if it needs nothing, LockedError if nobody tells."""
    is_protected = keyring.is_protected(app.home)
    if is_protected is None:
        # The keyfile is damaged or gone: a node that cannot begin for it says which.
        app.call("node.status")
        paths = HomePaths(app.home)
        if not paths.has_identity:
            raise paths.no_identity()
    if is_protected is False:
        # The node says so too; but nobody should be asked for what there is not.
        raise UsageError(
            "the home has no passphrase", hint="set one: peerpost identity passphrase set"
        )
    found = secrets.find(
        keyring=lambda: keyring.look_up(app.home),
        prompt=lambda: typed(app, f"Passphrase of {app.home}"),
    )
    if found is None:
        raise LockedError("the present passphrase is needed, and none was given", hint=HINT)
    return found.decode()
