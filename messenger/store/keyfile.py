"""The keyfile: what opens the store. It has a slot for each way to the one data key.

A slot of type `none` holds the key in clear: the home is as safe as its disk. Slots of type `passphrase`, `recovery`
and `keyring` hold it sealed under a secret. The secrets can change without the data key; a home whose key lay in clear
gets another key instead, and its store is encrypted anew (`peerpost.store.db.rekey`).

Every change is written to a draft, flushed and renamed, and counts up the generation. The keyfile before the last
change stays as `keyfile.bak` until the new one has opened.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from peerpost import system
from peerpost.crypto.passphrase import DEFAULT, FLOOR, KEY_BYTES, SALT_BYTES, Cost, require_memory
from peerpost.crypto.slot import KINDS, NONCE_BYTES, Slot
from peerpost.errors import (
    BadInputError,
    ExistsError,
    LockedError,
    StorageError,
    UsageError,
    WrongPassphraseError,
)

from . import disk
from . import keyfile_form as form

__all__ = [
    "BACKUP",
    "HOW_TO_UNLOCK",
    "KEYFILE",
    "Description",
    "NextKeyfile",
    "commit",
    "create",
    "describe",
    "discard",
    "draft",
    "exists",
    "is_protected",
    "replace_slots",
    "store_tag",
    "tidy",
    "unlock",
    "which_key",
]

KEYFILE: Final = "keyfile"
BACKUP: Final = "keyfile.bak"
HOW_TO_UNLOCK: Final = (
    "unlock it: peerpost identity unlock; in scripts: PEERPOST_PASSPHRASE, peerpost identity keyring, or"
    " at each boot peerpost node start --passphrase-file FILE"
)
ID_BYTES: Final = 8
MayWrite = Callable[[], object]
"""Called before anything is written, once all keys are derived: what it raises ends the work, with nothing changed."""
RAISE_S: Final = 2.0
"""A cost is raised at an unlock only if trying takes no longer than this afterwards."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a keyfile says without a secret."""

    kinds: tuple[str, ...]
    """The types of its slots, with those that are not known; `none` is a key in clear."""
    cost: Cost | None
    """What a try of the passphrase costs; None without one."""
    generation: int
    """How many times it was written."""

    @property
    def protected(self) -> bool:
        """Whether a secret is needed."""
        return "none" not in self.kinds


@dataclass(frozen=True, slots=True)
class NextKeyfile:
    """A keyfile with another data key, which is not in force yet."""

    key: bytes
    store: str
    """The tag of the store that the key is for."""
    content: dict[str, Any]


def _at_any_time() -> None:
    """Let it be written: nobody has left who would have to be asked."""


def exists(home: Path) -> bool:
    """Return whether the home has a keyfile, and so an identity."""
    return (home / KEYFILE).exists() or (home / KEYFILE).is_symlink()


def create(
    home: Path,
    *,
    passphrase: bytes | None = None,
    recovery: bytes | None = None,
    cost: Cost | None = None,
    may_write: MayWrite = _at_any_time,
) -> bytes:
    """Make a keyfile with a fresh data key, in clear if there is no passphrase; return the key.

    Raises ExistsError, ShortMemoryError, or StorageError if it cannot be written, with nothing left behind.
    """
    if exists(home):
        raise ExistsError("this home has a keyfile already")
    key, new_id = os.urandom(KEY_BYTES), os.urandom(ID_BYTES)
    slots = _new_slots(new_id, key, passphrase, recovery, cost)
    may_write()
    _write(home / KEYFILE, form.content_of(new_id, 1, slots, None))
    return key


def discard(home: Path) -> list[str]:
    """Overwrite and remove the keyfile; its store cannot be opened then. Raises StorageError.

    Return in words what stays all the same: what lies behind a link, under another name, or is somebody's folder.
    """
    stays = []
    with disk.errors("cannot remove the keyfile"):
        for path in (*_drafts(home), home / BACKUP, home / KEYFILE):
            if (left := _left_of(path)) is not None:
                stays.append(left)
            if path.is_symlink() or not path.is_dir():
                disk.shred(path)
    return stays


def _left_of(path: Path) -> str | None:
    """Return in words what is left of a file that is shredded; None if it is gone with its name."""
    if path.is_symlink():
        return f"{path.name} was a link, and what it led to stays: {path.readlink()}"
    if path.is_dir():
        return f"{path.name} is a folder, and stays"
    if not path.is_file():
        return None
    # While a change of the passphrase is not finished, one file has both names.
    others = [path.with_name(name) for name in (BACKUP, KEYFILE) if name != path.name]
    ours = 1 + sum(other.is_file() and other.samefile(path) for other in others)
    if path.stat().st_nlink <= ours:
        return None
    return f"{path.name} has another name somewhere else (a hard link), and stays there as it was"


def unlock(
    home: Path,
    secret: bytes | None = None,
    *,
    cost: Cost | None = None,
    may_write: MayWrite = _at_any_time,
) -> bytes:
    """Return the data key, with the secret of any slot, which an unprotected home does not need.

    The keyfile before the last change is removed then. If `cost` is given and the slot has a lower one, it is raised if
    that takes no more than `RAISE_S` and can be written. If nothing opens, no byte is changed.

    Raises NoIdentityError; LockedError if a secret is needed, or others may read the file; WrongPassphraseError;
    BadInputError if it is damaged; ShortMemoryError; StorageError.
    """
    content = form.read(home / KEYFILE)
    key = form.clear_key(content)
    if key is None:
        begun_s = time.thread_time()
        key, slot = _open(content, secret)
        slots: list[dict[str, Any]] | None = None
        if cost is not None and secret is not None and slot.kind == "passphrase":
            took_s = time.thread_time() - begun_s
            # A disk that is full, and memory that is short, are no reason to stay locked.
            with suppress(StorageError):
                slots = _with_raised_cost(content, slot, secret, key, cost, took_s)
        may_write()
        if slots is not None:
            with suppress(StorageError):
                _rewrite(home, content, slots)
    with suppress(OSError):  # A folder that may only be read is no reason to stay locked.
        disk.shred(home / BACKUP)
    return key


def is_protected(home: Path) -> bool:
    """Return whether a secret is needed. Raises what `describe` raises."""
    return describe(home).protected


def describe(home: Path) -> Description:
    """Return what the keyfile says without a secret. Raises as `unlock` does of a file that cannot be read."""
    content = form.read(home / KEYFILE)
    costs = [slot.cost for slot in form.slots_of(content) if slot.kind == "passphrase"]
    kinds = tuple(str(slot.get("type")) for slot in content["slots"])
    return Description(kinds, min(costs, key=_work, default=None), content["generation"])


def replace_slots(
    home: Path,
    secret: bytes,
    secrets: Mapping[str, bytes | None],
    *,
    cost: Cost | None = None,
    may_write: MayWrite = _at_any_time,
) -> bytes:
    """Give a protected home other secrets, by kind, None for no slot of that kind; return the data key, which stays.

    Slots of other kinds are kept. Raises what `unlock` raises, and UsageError if no passphrase would be left, or the
    home is not protected.
    """
    content = form.read(home / KEYFILE)
    if form.clear_key(content) is not None:
        raise UsageError(
            "this home has no passphrase", hint="set one: peerpost identity passphrase set"
        )
    key, _ = _open(content, secret)
    here = form.keyfile_id(content)
    slots = [slot for slot in content["slots"] if slot.get("type") not in secrets]
    for kind, other in secrets.items():
        if other is not None:
            slots.append(_sealed(kind, other, key, here, cost))
    if not any(slot.get("type") == "passphrase" for slot in slots):
        raise UsageError("a protected home keeps a passphrase")
    may_write()
    _rewrite(home, content, slots)
    return key


# -- another data key


def draft(
    home: Path,
    *,
    passphrase: bytes | None = None,
    recovery: bytes | None = None,
    cost: Cost | None = None,
) -> NextKeyfile:
    """Return a keyfile with a fresh data key to take the place of the one of this home. Nothing is written."""
    before = form.read(home / KEYFILE)
    here = form.keyfile_id(before)
    key, store = os.urandom(KEY_BYTES), os.urandom(ID_BYTES).hex()
    slots = _new_slots(here, key, passphrase, recovery, cost)
    return NextKeyfile(key, store, form.content_of(here, before["generation"] + 1, slots, store))


def commit(home: Path, made: NextKeyfile) -> None:
    """Put a draft in force: from now on its key, and the store of its tag, are those of the home. Raises StorageError.

    The keyfile before, which opens nothing any more, lies in `keyfile.bak` until `tidy`.
    """
    _keep_before(home)
    _write(home / KEYFILE, made.content)


def store_tag(home: Path) -> str | None:
    """Return the tag of the store that was last encrypted anew, None if none was. Raises as `unlock` does."""
    found: str | None = form.read(home / KEYFILE).get("store")
    return found


def which_key(data: bytes) -> bytes:
    """Return what is the same for two keyfiles with the same data key; of one that is damaged, what it is itself."""
    try:
        content = form.parse(data, Path(KEYFILE))
    except BadInputError:
        return data
    return repr((content.get("id"), content.get("store"))).encode()


def tidy(home: Path) -> None:
    """Overwrite and remove what an interrupted change has left: drafts, and the keyfile of an earlier data key.

    The caller holds the lock of the home. Raises StorageError, and as `unlock` does of a file that cannot be read.
    """
    in_force = store_tag(home)
    backup = home / BACKUP
    with disk.errors("cannot remove what is left of an old keyfile"):
        for path in _drafts(home):
            disk.shred(path)
        if backup.exists():
            try:
                before = form.read(backup).get("store")
            except BadInputError:
                return  # Damaged: it is no key, and `unlock` removes it.
            if before != in_force:
                disk.shred(backup)


# -- inside


def _open(content: dict[str, Any], secret: bytes | None) -> tuple[bytes, Slot]:
    # All of them are checked before the first is tried: a damaged file is damaged whatever the passphrase is.
    slots, here = form.slots_of(content), form.keyfile_id(content)
    if not slots:
        raise LockedError(
            "the home is protected in a way that this version does not know", hint="update Peerpost"
        )
    if secret is None:
        raise LockedError(
            "the home is locked: it is protected by a passphrase",
            hint=HOW_TO_UNLOCK,
        )
    for slot in slots:
        require_memory(slot.cost, system.free_memory_bytes())
        key = slot.open(secret, here)
        if key is not None:
            return key, slot
    has_code = any(slot.kind == "recovery" for slot in slots)
    again = "try again, or take the recovery code" if has_code else "try again"
    raise WrongPassphraseError("the passphrase is wrong", hint=f"nothing was changed; {again}")


def _with_raised_cost(
    content: dict[str, Any],
    slot: Slot,
    secret: bytes,
    key: bytes,
    cost: Cost,
    took_s: float,
) -> list[dict[str, Any]] | None:
    """Return the slots with one sealed anew that has a lower cost than it should have; None if it stays as it is."""
    raised = Cost(
        max(cost.memory_kib, slot.cost.memory_kib),
        max(cost.passes, slot.cost.passes),
        slot.cost.lanes,
    )
    free_bytes = system.free_memory_bytes()
    if raised == slot.cost or took_s * _work(raised) / _work(slot.cost) > RAISE_S:
        return None
    if free_bytes is not None and free_bytes < raised.memory_kib << 12:
        return None
    here = form.keyfile_id(content)
    old = slot.as_mapping()
    return [
        _sealed(slot.kind, secret, key, here, raised) if given == old else given
        for given in content["slots"]
    ]


def _work(cost: Cost) -> int:
    return cost.work_kib


def _new_slots(
    here: bytes, key: bytes, passphrase: bytes | None, recovery: bytes | None, cost: Cost | None
) -> list[dict[str, Any]]:
    if passphrase is None:
        return [{"type": "none", "key": key.hex()}]
    slots = [_sealed("passphrase", passphrase, key, here, cost)]
    if recovery is not None:
        slots.append(_sealed("recovery", recovery, key, here, None))
    return slots


def _sealed(kind: str, secret: bytes, key: bytes, here: bytes, cost: Cost | None) -> dict[str, Any]:
    if kind not in KINDS:
        raise ValueError(f"no kind of slot: {kind!r}")
    if kind != "passphrase":
        cost = FLOOR  # Such a secret was drawn at random, so that nobody can guess it at any cost.
    cost = cost or DEFAULT
    require_memory(cost, system.free_memory_bytes())
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    return Slot.seal(kind, secret, key, here, cost=cost, salt=salt, nonce=nonce).as_mapping()


def _rewrite(home: Path, before: dict[str, Any], slots: list[dict[str, Any]]) -> None:
    """Write the keyfile with other slots; the one before, which was read and opened, is kept."""
    if len(slots) > form.MAX_SLOTS:
        raise UsageError(f"a keyfile has at most {form.MAX_SLOTS} slots")
    _keep_before(home)
    _write(home / KEYFILE, {**before, "generation": before["generation"] + 1, "slots": slots})


def _keep_before(home: Path) -> None:
    """Give the keyfile that is in force a second name: overwritten under that name later, its bytes are gone."""
    backup = home / BACKUP
    with disk.errors("cannot keep the keyfile before the change"):
        disk.shred(backup)
        try:
            os.link(home / KEYFILE, backup)
        except OSError:
            # A file system without hard links: then there is a copy, and the old bytes stay until they are reused.
            shutil.copyfile(home / KEYFILE, backup)
            backup.chmod(0o600)
        disk.sync_folder(home)


def _drafts(home: Path) -> list[Path]:
    """Return the drafts of a keyfile that `write_file_durably` may have left."""
    return list(home.glob(f".{KEYFILE}.*"))


def _write(path: Path, content: dict[str, Any]) -> None:
    with disk.errors("cannot write the keyfile"):
        system.write_file_durably(path, form.serialize(content))
