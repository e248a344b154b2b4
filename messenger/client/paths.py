"""Where things of one home lie. Standard library only: every command reads this before anything
else.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import ClassVar

from peerpost.errors import ConfigError, LockedError, NoIdentityError
from peerpost.system import data_folder, home_folder
from peerpost.system.sockets import MAX_SOCKET_PATH_BYTES

from .loopback import Loopback, read

__all__ = ["HomePaths", "default_home"]

_ANOTHER = "choose a home folder: --home DIR"


class HomePaths:
    """The files of one home that both the command line and the node use."""

    __slots__ = ("home",)
    RESTORED: ClassVar = "restore.done"
    """A home that was put back, until the node has moved its files to their places, at the latest when it starts."""

    def __init__(self, home: str | os.PathLike[str]) -> None:
        """Take a home folder, which need not exist. Raises ConfigError if its name is not possible."""
        try:
            self.home = Path(os.path.abspath(home))  # noqa: PTH100 - it also takes out '..'
        except FileNotFoundError:
            raise ConfigError(
                f"{os.fspath(home)} is no whole path, and the folder this runs in is gone",
                hint=_ANOTHER,
            ) from None

    @property
    def keyfile(self) -> Path:
        """The key that opens the store; if it is missing, there is no identity yet."""
        return self.home / "keyfile"

    @property
    def store(self) -> Path:
        """The database, which the keyfile opens."""
        return self.home / "store.db"

    @property
    def has_identity(self) -> bool:
        """Whether there is a keyfile. Raises LockedError if the home cannot be read."""
        try:
            self.keyfile.stat()
        except (FileNotFoundError, NotADirectoryError):
            return (self.home / self.RESTORED).exists()
        except OSError as error:
            raise LockedError(
                f"cannot look into the home folder {self.home}: {error.strerror}",
                hint=f"it must be yours and open to you: chmod u+rwx {shlex.quote(os.fspath(self.home))}; or"
                f" {_ANOTHER}",
            ) from None
        return True

    def no_identity(self) -> NoIdentityError:
        """Return the error for a home without a keyfile: a new home, or one that has lost it."""
        if self.store.exists():
            return NoIdentityError(
                f"the keyfile of {self.home} is gone: store.db is there, and nothing else opens it",
                hint="put the keyfile back from a backup of this home, or choose another: --home DIR; if it was being"
                " deleted: peerpost identity delete --yes",
            )
        return NoIdentityError(
            f"there is no identity in {self.home} yet",
            hint="make one: peerpost identity new --name YOURNAME",
        )

    @property
    def config(self) -> Path:
        """The configuration that a person may edit."""
        return self.home / "config.toml"

    @property
    def config_lock(self) -> Path:
        """Held by the command that changes the configuration."""
        return self.home / "config.lock"

    @property
    def socket(self) -> Path:
        """The control socket, unless `control_file` names another place."""
        return self.home / "control.sock"

    @property
    def control_file(self) -> Path:
        """Says where the control socket is when the home's own path is too long for one, or it is on the loopback."""
        return self.home / "control.json"

    @property
    def control(self) -> str | Loopback | None:
        """Where the node of this home listens: the path of a socket, or a port; None if that is not known.

        Raises OSError, and LockedError if others may read the control file.
        """
        try:
            stored, is_private = read(self.control_file)
        except (FileNotFoundError, NotADirectoryError):
            usual = os.fspath(self.socket)
            return usual if len(os.fsencode(usual)) <= MAX_SOCKET_PATH_BYTES else None
        try:
            where = json.loads(stored)
        except ValueError:
            return None
        if not isinstance(where, dict):
            return None
        if "port" in where:
            if not is_private:
                raise LockedError(
                    f"others may read {self.control_file}, or have made it",
                    hint="delete it, and the node makes it anew",
                )
            return Loopback.parse(where)
        path = where.get("unix")
        return path if isinstance(path, str) and "\0" not in path else None

    @property
    def lock(self) -> Path:
        """Held by the node for as long as it runs; says which process that is."""
        return self.home / "lock"

    @property
    def spawn_lock(self) -> Path:
        """Held by the command that starts the node, so that only one does."""
        return self.home / "spawn.lock"

    @property
    def node_log(self) -> Path:
        """Where a node in the background writes what it has to say."""
        return self.home / "node.log"


def default_home() -> Path:
    """Return `PEERPOST_HOME`, or the platform's data folder for this user.

    The folder is worked out here, because importing platformdirs for it costs 14 ms of every command.
    """
    given = os.environ.get("PEERPOST_HOME")
    if given:
        return _expanded(given)
    if (usual := data_folder()) is not None:
        return _expanded(usual) / "peerpost"
    base = os.environ.get("XDG_DATA_HOME", "").strip()
    if not base.startswith(("/", "~")):
        # A path that is not absolute counts as not set (XDG Base Directory Specification).
        base = "~/.local/share"
    return _expanded(base) / "peerpost"


def _expanded(path: str) -> Path:
    """Replace `~` by the folder of this user or of the one it names. Raises ConfigError if there is none."""
    try:
        if path[:2] in ("~", "~/") and os.environ.get("HOME") == "":
            # An empty HOME counts as not set; Python would take it for the root of the file system.
            return home_folder() / path[2:]
        found = Path(path).expanduser()
    except (RuntimeError, KeyError):
        raise ConfigError(
            f"no folder is known for {path}: HOME is not set, or there is no such user",
            hint=f"set HOME or PEERPOST_HOME, or {_ANOTHER}",
        ) from None
    if path.startswith("~") and not found.is_absolute():
        raise ConfigError(
            f"HOME is {os.environ.get('HOME')!r}, which means another folder in each folder",
            hint=f"set it to a whole path, or {_ANOTHER}",
        )
    return found
