"""Where things of one home lie. Standard library only: every command reads this before anything
else.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from peerpost.errors import NoIdentityError

__all__ = ["MAX_SOCKET_PATH_BYTES", "HomePaths", "default_home"]

MAX_SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
"""Longest path a Unix socket can have: `sun_path` less its closing NUL (unix(7); macOS has 104)."""


class HomePaths:
    """The files of one home that the command line and the node both know of."""

    __slots__ = ("home",)

    def __init__(self, home: str | os.PathLike[str]) -> None:
        self.home = Path(os.path.abspath(home))  # noqa: PTH100 - it also takes out '..'

    @property
    def keyfile(self) -> Path:
        """What opens the store; where it is missing there is no identity yet."""
        return self.home / "keyfile"

    @property
    def store(self) -> Path:
        """The database, which the keyfile opens."""
        return self.home / "store.db"

    def no_identity(self) -> NoIdentityError:
        """Return what is to be said of a home without a keyfile: a new one, or one that has lost it."""
        if self.store.exists():
            return NoIdentityError(
                f"the keyfile of {self.home} is gone: store.db is there, and nothing else opens it",
                hint="put the keyfile back from a backup of this home, or choose another: --home DIR",
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
    def socket(self) -> Path:
        """The control socket, unless `control_file` names another place."""
        return self.home / "control.sock"

    @property
    def control_file(self) -> Path:
        """Says where the control socket is when the home's own path is too long for one."""
        return self.home / "control.json"

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

    On Linux and macOS the folder is worked out here, as platformdirs does it, because importing
    that costs 14 ms of every command; elsewhere it is asked.
    """
    given = os.environ.get("PEERPOST_HOME")
    if given:
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/peerpost").expanduser()
    if sys.platform == "win32":
        from platformdirs import user_data_path

        return user_data_path("peerpost", appauthor=False)
    base = os.environ.get("XDG_DATA_HOME", "").strip() or "~/.local/share"
    return Path(base).expanduser() / "peerpost"
