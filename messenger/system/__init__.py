"""What differs between operating systems, in one place: no other code asks which system it runs on.

It is made for Linux and macOS. The code for Windows is type-checked and was never run there.

`processes`, `signals` and `sockets` are not imported here, so that a command that does not need them starts faster.
"""

from __future__ import annotations

from .files import (
    BY_FOLDER,
    DISK_FULL,
    FILE_LIMIT_HINT,
    O_DIRECT,
    O_DIRECTORY,
    O_NOCTTY,
    O_NOFOLLOW,
    O_NONBLOCK,
    OPEN,
    allocate,
    appends,
    fdatasync,
    forget_cached,
    fsync,
    fsync_dir,
    is_read_only,
    open_plain,
    open_private,
    path_of,
    pread,
    pread_cached,
    pwritev,
    read_plain,
    readinto,
    write_file_durably,
)
from .locks import is_locked, try_lock
from .memory import free_memory_bytes, guard_memory
from .rights import (
    allow_as_user,
    check_access,
    check_owner,
    check_private_file,
    close_new_files,
    data_folder,
    home_folder,
    is_mine,
    no_access,
    private_dir,
    user_id,
)
from .waiting import HAS_UVLOOP, PLATFORM, Ready

__all__ = [
    "BY_FOLDER",
    "DISK_FULL",
    "FILE_LIMIT_HINT",
    "HAS_UVLOOP",
    "OPEN",
    "O_DIRECT",
    "O_DIRECTORY",
    "O_NOCTTY",
    "O_NOFOLLOW",
    "O_NONBLOCK",
    "PLATFORM",
    "Ready",
    "allocate",
    "allow_as_user",
    "appends",
    "check_access",
    "check_owner",
    "check_private_file",
    "close_new_files",
    "data_folder",
    "fdatasync",
    "forget_cached",
    "free_memory_bytes",
    "fsync",
    "fsync_dir",
    "guard_memory",
    "home_folder",
    "is_locked",
    "is_mine",
    "is_read_only",
    "no_access",
    "open_plain",
    "open_private",
    "path_of",
    "pread",
    "pread_cached",
    "private_dir",
    "pwritev",
    "read_plain",
    "readinto",
    "try_lock",
    "user_id",
    "write_file_durably",
]
