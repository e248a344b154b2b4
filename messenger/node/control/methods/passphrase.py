"""`identity passphrase set|change|remove`, and how a passphrase or a recovery code comes over the control socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from peerpost.client.rpc import Answer, Final, Request
from peerpost.crypto import recovery
from peerpost.crypto.passphrase import normalize
from peerpost.errors import BadInputError, WrongPassphraseError
from peerpost.node.clock import SYSTEM
from peerpost.node.new_home import ChosenSecrets
from peerpost.node.tasks import EndsOwner, Tasks

if TYPE_CHECKING:
    from peerpost.node.host import Host

__all__ = [
    "Secret",
    "change",
    "check",
    "in_bytes",
    "misread",
    "new_seed",
    "remove",
    "secrets_of",
    "set_",
]

MAX_CHARS = 1024
"""A passphrase has at most as many bytes, which the client checks."""
TOLD_S = 0.25
"""How often progress is told."""

Secret = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CHARS)]


class _Check(msgspec.Struct, forbid_unknown_fields=True):
    passphrase: Secret


class _Set(msgspec.Struct, forbid_unknown_fields=True):
    passphrase: Secret
    recovery: bool = True


class _Change(msgspec.Struct, forbid_unknown_fields=True):
    passphrase: Secret
    new: Secret
    recovery: bool = False
    """Whether a new recovery code takes the place of the one before."""


class _Remove(msgspec.Struct, forbid_unknown_fields=True):
    passphrase: Secret


def in_bytes(text: str) -> bytes:
    """Return a passphrase as bytes. Whoever sent it has taken off the line end of its source, and no other goes."""
    return normalize(f"{text}\n")


def secrets_of(text: str) -> list[bytes]:
    """Return what a text may be meant as, in the order to try it: a recovery code, a passphrase."""
    secrets = [in_bytes(text)]
    if recovery.is_code(text):
        with suppress(BadInputError):
            # First, because it is meant as one. A passphrase may have the same form all the same.
            secrets.insert(0, recovery.parse(text))
    return secrets


def misread(text: str) -> None:
    """Raise BadInputError if a text that opened nothing is a recovery code that was copied wrongly."""
    if recovery.is_code(text):
        recovery.parse(text)


def new_seed(*, wanted: bool) -> bytes | None:
    """Return the bytes of a new recovery code, None if none is wanted."""
    return os.urandom(recovery.SEED_BYTES) if wanted else None


async def check(host: Host, request: Request[_Check]) -> dict[str, Any]:
    """Say whether a text opens a protected home, before its owner thinks of another passphrase; nothing changes.

    Raises WrongPassphraseError if it does not.
    """
    text = request.params_as(_Check).passphrase
    try:
        await host.check_secrets(secrets_of(text))
    except WrongPassphraseError:
        misread(text)
        raise
    return _row(host, None)


async def set_(host: Host, request: Request[_Set]) -> Answer:
    """Protect an open home; yields progress, and ends in a row with a recovery code, this once."""
    params = request.params_as(_Set)
    seed = new_seed(wanted=params.recovery)
    chosen = ChosenSecrets(passphrase=in_bytes(params.passphrase), recovery=seed)
    return _rekeyed(host, (), chosen)


async def remove(host: Host, request: Request[_Remove]) -> Answer:
    """Take the protection off; yields progress. The home is open then."""
    text = request.params_as(_Remove).passphrase
    return _rekeyed(host, secrets_of(text), ChosenSecrets(), text)


async def change(host: Host, request: Request[_Change]) -> dict[str, Any]:
    """Give a protected home another passphrase, by the one that it has or by its recovery code."""
    params = request.params_as(_Change)
    seed = new_seed(wanted=params.recovery)
    chosen = ChosenSecrets(passphrase=in_bytes(params.new), recovery=seed)
    try:
        await host.change_secrets(secrets_of(params.passphrase), chosen)
    except WrongPassphraseError:
        misread(params.passphrase)
        raise
    return _row(host, seed)


async def _rekeyed(
    host: Host, secrets: Sequence[bytes], chosen: ChosenSecrets, text: str = ""
) -> AsyncIterator[object]:
    at = (0, 0)

    def note(done_bytes: int, all_bytes: int) -> None:
        nonlocal at
        at = (done_bytes, all_bytes)

    tasks = Tasks()
    # Its failure is raised here, where it is awaited.
    task = tasks.spawn(
        host.rekey(secrets, chosen, note), name="passphrase", on_failure=EndsOwner(lambda _: None)
    )
    begun_s, told = SYSTEM.monotonic_s(), at
    try:
        while not task.done():
            await asyncio.wait([task], timeout=TOLD_S)
            if at != told:
                told = at
                yield _progress(*at, SYSTEM.monotonic_s() - begun_s)
        try:
            await task
        except WrongPassphraseError:
            misread(text)
            raise
    finally:
        await tasks.stop()
    yield Final(_row(host, chosen.recovery))


def _progress(done_bytes: int, all_bytes: int, took_s: float) -> dict[str, Any]:
    """Return progress in the keys of a transfer."""
    rate = done_bytes / max(took_s, 1e-3)
    return {
        "id": "store.db",
        "name": "store.db",
        "state": "active",
        "size": all_bytes,
        "done_bytes": done_bytes,
        "progress": done_bytes / max(all_bytes, 1),
        "rate_bytes_s": round(rate),
        "eta_s": round((all_bytes - done_bytes) / rate, 1) if rate else None,
    }


def _row(host: Host, seed: bytes | None) -> dict[str, Any]:
    row = {"locked": host.locked, "protected": host.protected}
    return row if seed is None else row | {"recovery_code": recovery.write(seed)}
