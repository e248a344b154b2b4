"""The keyring of the system: where a secret of its own lies that opens a home, if its owner wants that.

The keyfile says by a slot of the type `keyring` that there is one, so that no other home pays for looking. The library
comes with the extra `peerpost[keyring]`.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from peerpost.errors import UnavailableError
from peerpost.system import read_plain

from .extras import how_to_install
from .paths import HomePaths

__all__ = ["account", "forget", "has_recovery_code", "has_slot", "is_protected", "keep", "look_up"]

SERVICE = "peerpost"
_MAX_KEYFILE_BYTES = 4096


def look_up(home: Path) -> str | None:
    """Return the secret that the keyring keeps for a home; None if there is none, or the keyring cannot be read."""
    kinds, account = _keyfile(home)
    if "keyring" not in kinds or account is None:
        return None
    with suppress(Exception):
        # Its backends raise what they like: without the keyring the next source is asked.
        found: str | None = _library().get_password(SERVICE, account)
        return found
    return None


def has_slot(home: Path) -> bool:
    """Return whether a home may be opened by what the keyring keeps."""
    return "keyring" in _keyfile(home)[0]


def has_recovery_code(home: Path) -> bool:
    """Return whether a recovery code opens a home too."""
    return "recovery" in _keyfile(home)[0]


def keep(home: Path, secret: str) -> None:
    """Put the secret of a home into the keyring. Raises UnavailableError."""
    _, account = _keyfile(home)
    try:
        _library().set_password(SERVICE, account or str(home), secret)
    except UnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - its backends raise what they like
        raise UnavailableError(
            f"the keyring of this system takes nothing: {str(error) or type(error).__name__}",
            hint="is it unlocked, and is there one? `keyring diagnose` shows which it is",
        ) from None


def account(home: Path) -> str | None:
    """Return the name under which the keyring keeps the secret of a home; None if the home has no slot for one."""
    kinds, id_ = _keyfile(home)
    return (id_ or str(home)) if "keyring" in kinds else None


def forget(kept_as: str | None) -> None:
    """Take a secret out of the keyring, if it is there. Call it once the home is not opened by it any more."""
    with suppress(Exception):
        # What a keyring does not give up opens nothing by then.
        if kept_as is not None:
            _library().delete_password(SERVICE, kept_as)


def is_protected(home: Path) -> bool | None:
    """Return whether a home needs a secret; None if its keyfile is not there or cannot be read: the node says why."""
    kinds, _ = _keyfile(home)
    return "none" not in kinds if kinds else None


def _library() -> ModuleType:
    try:
        import keyring
    except ImportError:
        raise UnavailableError(
            "the library for the keyring of this system is not installed",
            hint=how_to_install("keyring"),
        ) from None
    return keyring


def _keyfile(home: Path) -> tuple[list[str], str | None]:
    """Return the types of the slots of a keyfile, and its id; nothing of one that cannot be read: the node says why."""
    try:
        content = json.loads(read_plain(HomePaths(home).keyfile, _MAX_KEYFILE_BYTES))
        kinds = [str(slot.get("type")) for slot in content["slots"]]
        return kinds, str(content["id"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return [], None
