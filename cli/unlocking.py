"""Unlocking a home from a command: by whatever source has its passphrase, with another try for what is typed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from peerpost.client import keyring
from peerpost.client.paths import HomePaths
from peerpost.errors import BadInputError, LockedError, UsageError, WrongPassphraseError

from .passphrases import TRIES, Console, hint, typed

if TYPE_CHECKING:
    from peerpost.client.connection import NodeConnection
    from peerpost.client.secrets import Secrets


__all__ = ["handed_over", "present", "unlock"]

T = TypeVar("T")


class Locked(Console, Protocol):
    """Whose home is locked."""

    @property
    def home(self) -> Path:
        """Its folder."""


class Asking(Locked, Protocol):
    """Who can ask the node of that home too."""

    def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Ask the node. Raises the PeerpostError that it raised."""


def unlock(app: Locked, node: NodeConnection, secrets: Secrets) -> dict[str, Any] | None:
    """Unlock the home of a node. Return the node's answer, or None if no source has a passphrase.

    Raises WrongPassphraseError, and what `Secrets.find` raises.
    """

    def tried(secret: str) -> dict[str, Any]:
        answer: dict[str, Any] = node.call("identity.unlock", {"passphrase": secret})
        return answer

    return _first_that_fits(app, secrets, tried)


def _first_that_fits(app: Locked, secrets: Secrets, tried: Callable[[str], T]) -> T | None:
    """Return what `tried` returns for the first passphrase that it takes; None if no source has one.

    What is typed may be wrong a few times. Raises WrongPassphraseError, and what `Secrets.find` raises.
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
        return typed(app, _question(app))

    while True:
        secret = secrets.find(keyring=look_up, prompt=prompt)
        if secret is None:
            return None
        try:
            return tried(secret.decode())
        except (WrongPassphraseError, BadInputError) as error:
            # Bad input is a recovery code with a slip in it.
            if from_keyring:
                # Its slot may be another by now: then the next source is asked.
                looks = False
                app.terminal.warn("What the keyring keeps does not open this home any more.")
            elif 0 < asked < TRIES:
                wrong = f"{error.message[:1].upper()}{error.message[1:]}. Try again"
                is_other = keyring.has_recovery_code(app.home) and error.code == "wrong_passphrase"
                app.terminal.warn(
                    f"{wrong}, or enter the recovery code." if is_other else f"{wrong}."
                )
            else:
                raise


def _question(app: Locked) -> str:
    """Return what to ask for: it names the recovery code where there is one, because nobody thinks of it."""
    or_code = " or recovery code" if keyring.has_recovery_code(app.home) else ""
    return f"Passphrase{or_code} of the home {app.home}"


def handed_over(app: Locked, secrets: Secrets) -> int | None:
    """Return a descriptor from which a program that takes the place of this one reads the passphrase.

    Neither its arguments nor its environment show it then. None if the home needs none, or no source has one. Raises
    what `Secrets.find` raises.
    """
    if not keyring.is_protected(app.home):
        return None
    secret = secrets.find(
        keyring=lambda: keyring.look_up(app.home),
        prompt=lambda: typed(app, f"{_question(app)} (Enter: stay locked)"),
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
    """Return what opens the home now: it was tried, so that nobody is asked for more if it is wrong.

    Raises UsageError if the home needs nothing, LockedError if nobody tells, and as `unlock` does.
    """
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

    def tried(secret: str) -> str:
        app.call("identity.passphrase.check", {"passphrase": secret})
        return secret

    found = _first_that_fits(app, secrets, tried)
    if found is None:
        raise LockedError("the present passphrase is needed, and none was given", hint=hint(app))
    return found
