"""Archives of a folder as they are sent, and as a stranger may make them."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from typing import Any

from peerpost.errors import StorageError

Member = tuple[str, dict[str, Any], bytes]


def folder(name: str = "top") -> Member:
    return name, {"type": tarfile.DIRTYPE, "mode": 0o755}, b""


def file(name: str, data: bytes = b"data", **more: Any) -> Member:
    return name, {"mtime": 1_700_000_000, **more}, data


def link(name: str, target: str) -> Member:
    return name, {"type": tarfile.SYMTYPE, "linkname": target}, b""


def packed(*members: Member) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, fields, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def writer(data: bytes) -> Callable[[int], None]:
    def write(fd: int) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(fd, view[:65536]) :]
        except BrokenPipeError:
            raise StorageError("cannot write the file: Broken pipe") from None

    return write
