"""The files of the home itself, which must never be sent, because whoever has the keys in them has the identity.

The node looks at every descriptor that it is handed. The command line looks at stdin before it makes a text of it: the
node would get the text alone, which does not show where it comes from.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from peerpost.errors import BadInputError

from .paths import HomePaths

__all__ = ["identities", "require_not_own"]


def identities(home: Path) -> frozenset[tuple[int, int]]:
    """Return device and inode of the home and of what lies directly in it. Names are not enough: they may be links."""
    return frozenset(_each(home))


def _each(home: Path) -> Iterator[tuple[int, int]]:
    named = HomePaths(home)
    # These are named too, in case the folder may be entered but not listed.
    paths = {home, named.keyfile, named.store}
    with suppress(OSError):
        paths.update(home.iterdir())
    for path in paths:
        with suppress(OSError):
            found = path.stat()
            yield found.st_dev, found.st_ino


def require_not_own(home: Path, fd: int) -> None:
    """Raise BadInputError if what is open is the home, a folder in it, its keyfile, its store or a file beside them."""
    found = os.fstat(fd)
    if (found.st_dev, found.st_ino) in identities(home):
        raise BadInputError(
            f"that is part of your Peerpost home {home}, which has your keys: it is not sent",
            hint="to move a home to another machine, stop its node and copy the folder yourself",
        )
