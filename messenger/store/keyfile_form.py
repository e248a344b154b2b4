"""The form of a keyfile: one line of JSON with a checksum, read within bounds.

    {"fmt": "peerpost-keyfile", "v": 1, "id": "...", "generation": 1, "slots": [...], "sum": "..."}

The checksum tells a damaged file from a wrong passphrase, and protects against nothing else. docs/design.md has every
field. Fields and slots that this version does not know are kept.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from peerpost import system
from peerpost.crypto.slot import KINDS, Slot
from peerpost.errors import BadInputError, NoIdentityError, StorageError

__all__ = [
    "MAX_SLOTS",
    "clear_key",
    "content_of",
    "keyfile_id",
    "parse",
    "read",
    "serialize",
    "slots_of",
]

FORMAT: Final = "peerpost-keyfile"
MAX_BYTES: Final = 4096
MAX_SLOTS: Final = 8
_MAX_GENERATION: Final = (1 << 53) - 1
"""The largest that every reader of JSON has exactly."""
_DAMAGED_HINT: Final = "restore it from a backup: without it the store cannot be opened"


def content_of(
    keyfile_id: bytes, generation: int, slots: list[dict[str, Any]], store: str | None
) -> dict[str, Any]:
    """Return the content of a keyfile. `store` names the file that the store was last encrypted anew in."""
    content = {
        "fmt": FORMAT,
        "v": 1,
        "id": keyfile_id.hex(),
        "generation": generation,
        "slots": slots,
    }
    return content if store is None else {**content, "store": store}


def serialize(content: dict[str, Any]) -> bytes:
    """Return the bytes of a keyfile."""
    return json.dumps({**content, "sum": _sum(content)}).encode() + b"\n"


def read(path: Path) -> dict[str, Any]:
    """Return the content of a keyfile.

    Raises NoIdentityError if there is none, LockedError if others may read it, BadInputError if it is damaged or of
    another version, StorageError.
    """
    try:
        system.check_private_file(path)
        data = system.read_plain(path, MAX_BYTES + 1)
    except FileNotFoundError:
        raise NoIdentityError(
            "this home has no identity yet", hint="make one: peerpost identity new"
        ) from None
    except OSError as error:
        raise StorageError(f"cannot read the keyfile: {error.strerror or error}") from error
    return parse(data, path)


def parse(data: bytes, path: Path) -> dict[str, Any]:
    """Return the content of the bytes of a keyfile, which lies at that path. Raises BadInputError."""
    if len(data) > MAX_BYTES:
        raise _damaged(path)
    try:
        content = json.loads(data, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError):
        raise _damaged(path) from None
    if not isinstance(content, dict) or content.pop("sum", None) != _sum(content):
        raise _damaged(path)
    if content.get("fmt") != FORMAT or content.get("v") != 1:
        raise BadInputError("the keyfile is of another version", hint="update Peerpost")
    slots, generation = content.get("slots"), content.get("generation")
    if not isinstance(slots, list) or not 0 < len(slots) <= MAX_SLOTS:
        raise _damaged(path)
    if not all(isinstance(slot, dict) for slot in slots):
        raise _damaged(path)
    if type(generation) is not int or not 0 < generation <= _MAX_GENERATION:
        raise _damaged(path)
    store = content.get("store", "")
    if not isinstance(store, str) or not all(char in "0123456789abcdef" for char in store):
        raise _damaged(path)
    return content


def clear_key(content: dict[str, Any]) -> bytes | None:
    """Return the data key that lies there in clear, None if none does. Raises BadInputError."""
    for slot in content["slots"]:
        if slot.get("type") == "none":
            return _key(slot)
    return None


def slots_of(content: dict[str, Any]) -> list[Slot]:
    """Return the slots that a secret opens; those of kinds that are not known are left out.

    Raises BadInputError if one of them cannot be, or asks for more than is ever given.
    """
    return [Slot.parse(slot) for slot in content["slots"] if slot.get("type") in KINDS]


def keyfile_id(content: dict[str, Any]) -> bytes:
    """Return the id of a keyfile: 8 bytes that its slots are bound to. Raises BadInputError."""
    given = content.get("id")
    try:
        found = bytes.fromhex(given) if isinstance(given, str) else b""
    except ValueError:
        found = b""
    if len(found) != 8:
        raise BadInputError("the keyfile is damaged", hint=_DAMAGED_HINT)
    return found


def _key(slot: dict[str, Any]) -> bytes:
    try:
        key = bytes.fromhex(slot["key"])
    except (KeyError, TypeError, ValueError):
        raise BadInputError("the keyfile is damaged", hint=_DAMAGED_HINT) from None
    if len(key) != 32:
        raise BadInputError("the keyfile is damaged", hint=_DAMAGED_HINT)
    return key


def _sum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _damaged(path: Path) -> BadInputError:
    hint, before = _DAMAGED_HINT, path.with_name(f"{path.name}.bak")
    if before.exists():
        hint = f"{before.name} beside it is the one before: copy both aside, then rename it to {path.name}"
    return BadInputError("the keyfile is damaged", hint=hint)
