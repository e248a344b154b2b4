"""Where a shell looks for the completion of a command, and the file that is written there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from peerpost.errors import CannotCreateError, ExistsError, StorageError
from peerpost.system import home_folder, read_plain, write_file_durably

__all__ = ["Installed", "install"]

_MARK = "_PEERPOST_COMPLETE"
"""Every completion script of ours has it, however it came to its place."""
_MOST_BYTES = 1 << 20
_BASH_COMPLETION = (
    "/usr/share/bash-completion/bash_completion",
    "/etc/bash_completion",
    "/usr/local/share/bash-completion/bash_completion",
    "/usr/local/etc/profile.d/bash_completion.sh",
    "/opt/homebrew/etc/profile.d/bash_completion.sh",
)
"""Where the package lies that reads the user's folder."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What was done."""

    path: Path
    state: str
    """new, updated, or unchanged."""
    hints: tuple[str, ...] = ()
    """What the user still has to do, a line each."""


def install(shell: str, script: str, environ: Mapping[str, str]) -> Installed:
    """Write the script to the place of its shell, unless it works already.

    Raises ExistsError for a file that is not ours, CannotCreateError, StorageError.
    """
    home = home_folder() if not environ.get("HOME") else Path(environ["HOME"])
    for rc in _start_files(shell, home, environ):
        if f"peerpost completion {shell}" in _text(rc):
            return Installed(rc, "unchanged")
    path = _place(shell, home, environ)
    text = f"{script}\n# Written by 'peerpost completion {shell} --install'. To undo it, delete this file.\n"
    hints = _hints(shell, path, home, environ)
    if os.path.lexists(path):
        before = _own(path)
        if before == text:
            return Installed(path, "unchanged", hints)
        _write(path, text)
        return Installed(path, "updated", hints)
    _write(path, text)
    return Installed(path, "new", hints)


def _folder(environ: Mapping[str, str], variable: str, usual: Path) -> Path:
    """Return a folder of the XDG specification, for which a path that is not whole counts as not set."""
    given = environ.get(variable, "")
    return Path(given) if given.startswith("/") else usual


def _place(shell: str, home: Path, environ: Mapping[str, str]) -> Path:
    data = _folder(environ, "XDG_DATA_HOME", home / ".local" / "share")
    match shell:
        case "bash":
            first = environ.get("BASH_COMPLETION_USER_DIR", "").partition(":")[0]
            folder = Path(first) if first.startswith("/") else data / "bash-completion"
            return folder / "completions" / "peerpost"
        case "zsh":
            return data / "zsh" / "site-functions" / "_peerpost"
        case _:
            config = _folder(environ, "XDG_CONFIG_HOME", home / ".config")
            return config / "fish" / "completions" / "peerpost.fish"


def _start_files(shell: str, home: Path, environ: Mapping[str, str]) -> list[Path]:
    if shell == "bash":
        return [home / ".bashrc", home / ".bash_profile", home / ".profile"]
    if shell == "zsh":
        return [_folder(environ, "ZDOTDIR", home) / ".zshrc"]
    return []


def _hints(shell: str, path: Path, home: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    if shell == "bash" and not any(Path(one).exists() for one in _BASH_COMPLETION):
        return (
            "bash reads it with the package bash-completion alone.",
            "Without that, add this to ~/.bashrc:",
            '  eval "$(peerpost completion bash)"',
        )
    if shell == "zsh":
        folder = path.parent
        rc = _folder(environ, "ZDOTDIR", home) / ".zshrc"
        shown = f"~/{folder.relative_to(home)}" if folder.is_relative_to(home) else str(folder)
        if not any(name in _text(rc) for name in (str(folder), shown)):
            return (
                f"zsh finds it once this stands at the top of {rc}:",
                f"  fpath=({shown} $fpath); autoload -Uz compinit; compinit",
            )
    return ()


def _text(path: Path) -> str:
    """Return what stands in a file of the user; nothing if it cannot be read."""
    try:
        return read_plain(path, _MOST_BYTES, follows=True).decode(errors="replace")
    except OSError:
        return ""


def _own(path: Path) -> str:
    """Return the text of a file that we wrote. Raises ExistsError for anything else."""
    try:
        text = read_plain(path, _MOST_BYTES).decode(errors="replace")
    except OSError:
        text = ""  # A link, a folder, or another user's.
    if _MARK not in text:
        raise ExistsError(f"{path} is not Peerpost's", hint="move it away, then again")
    return text


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreateError(f"cannot make {path.parent}: {error.strerror}") from None
    try:
        write_file_durably(path, text.encode(), mode=0o644)
    except PermissionError as error:
        raise CannotCreateError(f"cannot write {path}: {error.strerror}") from None
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from None
