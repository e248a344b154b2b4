"""The node listens at a Unix socket in its home, and serves only the same user.

The socket lies in the home (0700) with mode 0600, and the user id of every connection is checked. It is bound under
another name and renamed into place. So it is never there with other rights, a symlink is replaced and not followed, and
the socket of a killed node is replaced.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from peerpost.client.paths import HomePaths
from peerpost.system import user_id, write_file_durably
from peerpost.system.sockets import MAX_SOCKET_PATH_BYTES, peer_uid, unix_socket

__all__ = ["UnixDoor"]

log = logging.getLogger(__name__)


class UnixDoor:
    """A socket in the home, or in another folder if its path is too long for one."""

    def __init__(self, wanted: Path) -> None:
        self._wanted = wanted
        self.path = wanted
        """Where the socket really is."""
        self._inode = 0

    def listen(self, backlog: int) -> socket.socket:
        """Return a new socket that listens in its place. Raises OSError."""
        if not self._inode:
            self.path = self._choose_path()
        # The temporary name is not longer than the real one, so it fits if that one does.
        draft = self.path.with_name(f".c{os.getpid():x}")
        draft.unlink(missing_ok=True)
        listener = unix_socket()
        try:
            listener.bind(os.fspath(draft))
            draft.chmod(0o600)
            listener.listen(backlog)
            listener.setblocking(False)
            draft.replace(self.path)
            self._inode = self.path.lstat().st_ino
        except BaseException:
            listener.close()
            draft.unlink(missing_ok=True)
            raise
        return listener

    @property
    def lost(self) -> bool:
        """Whether the socket is no longer in its place."""
        try:
            return self.path.lstat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def remove(self) -> None:
        """Remove the socket if it is still ours."""
        with suppress(OSError):
            if not self.lost:
                self.path.unlink()
        if self.path != self._wanted:
            shutil.rmtree(self.path.parent, ignore_errors=True)
            HomePaths(self._wanted.parent).control_file.unlink(missing_ok=True)
        self._inode = 0

    def admit(self, sock: socket.socket, admitted: Callable[[socket.socket], None]) -> None:
        """Hand on a connection of the same user, or close it."""
        try:
            uid = peer_uid(sock)
        except OSError as error:
            log.warning("refused a connection to the control socket: %s", error)
            sock.close()
            return
        if uid != user_id():
            log.warning("refused user %d at the control socket", uid)
            sock.close()
            return
        sock.setblocking(False)
        admitted(sock)

    def _choose_path(self) -> Path:
        control_file = HomePaths(self._wanted.parent).control_file
        if len(os.fsencode(self._wanted)) <= MAX_SOCKET_PATH_BYTES:
            control_file.unlink(missing_ok=True)
            return self._wanted
        path = Path(tempfile.mkdtemp(prefix="peerpost-")) / self._wanted.name
        write_file_durably(control_file, json.dumps({"unix": os.fspath(path)}).encode())
        return path
