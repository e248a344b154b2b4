"""The keyfile: what opens the store. One line of JSON, a slot for each way to the data key.

    {"fmt": "peerpost-keyfile", "v": 1, "id": "...", "generation": 1,
     "slots": [{"type": "none", "key": "..."}], "sum": "..."}

A slot of type `none` holds the key in clear: the home is as safe as its disk, which `identity show`
says. Slots of other types (passphrase, recovery code, keyring) are kept as they are by a version
that does not know them. `sum` is a checksum: it tells a damaged file from a wrong passphrase and
protects against nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from peerpost import system
from peerpost.errors import (
    BadInputError,
    ExistsError,
    LockedError,
    NoIdentityError,
    StorageError,
)

from . import disk

__all__ = ["KEYFILE", "create", "exists", "unlock"]

KEYFILE = "keyfile"
FORMAT = "peerpost-keyfile"
MAX_BYTES = 4096
MAX_SLOTS = 8
_DAMAGED_HINT = "restore it from a backup: without it the store cannot be opened"


def exists(home: Path) -> bool:
    """Return whether the home has a keyfile, and so an identity."""
    return (home / KEYFILE).exists() or (home / KEYFILE).is_symlink()


def create(home: Path) -> bytes:
    """Make a keyfile with a fresh data key in clear; return the key.

    Raises ExistsError; StorageError if it cannot be written, with nothing left behind.
    """
    if exists(home):
        raise ExistsError("this home has a keyfile already")
    key = os.urandom(32)
    content = {
        "fmt": FORMAT,
        "v": 1,
        "id": os.urandom(8).hex(),
        "generation": 1,
        "slots": [{"type": "none", "key": key.hex()}],
    }
    _write(home / KEYFILE, content)
    return key


def discard(home: Path) -> None:
    """Remove the keyfile of a home whose identity could not be made; its store cannot be opened then."""
    with disk.errors("cannot remove the keyfile"):
        (home / KEYFILE).unlink(missing_ok=True)


def unlock(home: Path) -> bytes:
    """Return the data key of a home whose keyfile holds it in clear.

    Raises NoIdentityError if there is none, LockedError if it is protected or too open to
    others, BadInputError if it is damaged, StorageError if it cannot be read.
    """
    content = _read(home / KEYFILE)
    for slot in content["slots"]:
        if slot.get("type") == "none":
            return _key(slot)
    raise LockedError(
        "the home is protected by a passphrase",
        hint="this version cannot unlock it: update Peerpost",
    )


def _key(slot: dict[str, Any]) -> bytes:
    try:
        key = bytes.fromhex(slot["key"])
    except (KeyError, TypeError, ValueError):
        raise _damaged() from None
    if len(key) != 32:
        raise _damaged()
    return key


def _sum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _write(path: Path, content: dict[str, Any]) -> None:
    data = json.dumps({**content, "sum": _sum(content)}).encode() + b"\n"
    with disk.errors("cannot write the keyfile"):
        system.write_file_durably(path, data)


def _read(path: Path) -> dict[str, Any]:
    try:
        system.check_private_file(path)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise NoIdentityError(
            "this home has no identity yet", hint="make one: peerpost identity new"
        ) from None
    except OSError as error:
        raise StorageError(f"cannot read the keyfile: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise _damaged()
    try:
        content = json.loads(data, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError):
        raise _damaged() from None
    if not isinstance(content, dict) or content.pop("sum", None) != _sum(content):
        raise _damaged()
    if content.get("fmt") != FORMAT or content.get("v") != 1:
        raise BadInputError("the keyfile is of another version", hint="update Peerpost")
    slots = content.get("slots")
    if not isinstance(slots, list) or not 0 < len(slots) <= MAX_SLOTS:
        raise _damaged()
    if not all(isinstance(slot, dict) for slot in slots):
        raise _damaged()
    return content


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _damaged() -> BadInputError:
    return BadInputError("the keyfile is damaged", hint=_DAMAGED_HINT)
