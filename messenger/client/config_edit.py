"""`config.toml` is changed by a program: one key, with all comments kept, checked as a whole before it is written.

One after another: whoever changes it holds a lock, so that of two at once neither is lost. An editor takes no lock, so
the file is looked at once more right before it is replaced.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peerpost import system
from peerpost.errors import ConfigError, LockedError, StorageError, UnavailableError, UsageError

from . import config as configuration
from .config_text import DEFAULT_TEXT
from .paths import HomePaths

__all__ = ["Edited", "set_", "unset"]

LOCK_S = 10.0
"""How long to wait for others who change it; each needs milliseconds."""
_POLL_S = 0.02
_TRIES = 20
"""How often to begin again because somebody who takes no lock has changed the file meanwhile."""


@dataclass(frozen=True, slots=True)
class Edited:
    """What was done."""

    path: Path
    changed: bool
    """Whether the file is another one than before."""


def set_(home: Path, key: str, texts: Sequence[str]) -> Edited:
    """Set a key; `texts` is its value, or the parts of a list. The file is made where there is none.

    Raises ConfigError for a key or a value that is wrong, with nothing written; UsageError, LockedError, StorageError.
    """
    section, name = _known(key)
    value = _value(section, name, texts)
    configuration.check({section: {name: value}}, "config set")

    def change(text: str) -> str:
        return _with(text, section, name, value)

    return _edit(home, change)


def unset(home: Path, key: str) -> Edited:
    """Take a key out of the file, so that its default holds; also one that is unknown. Raises as `set_` does."""
    section, _, name = key.partition(".")

    def change(text: str) -> str:
        table = tomllib.loads(text).get(section)
        if not isinstance(table, dict) or name not in table:
            _known(key)
            return text
        return _without(text, section, name)

    return _edit(home, change)


def _known(key: str) -> tuple[str, str]:
    """Return section and name of a key. Raises ConfigError naming the nearest."""
    keys = configuration.keys()
    if key in keys:
        section, _, name = key.partition(".")
        return section, name
    same = [one for one in keys if one.rpartition(".")[2] == key.rpartition(".")[2]]
    inside = [one for one in keys if one.startswith(f"{key}.")]
    near = same or difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
    hint = "all keys: peerpost config show"
    if inside:
        hint = f"of [{key}]: {', '.join(inside)}"
    elif near:
        hint = f"did you mean {near[0]!r}?"
    raise ConfigError(f"there is no key {key!r}", hint=hint)


def _value(section: str, name: str, texts: Sequence[str]) -> Any:
    if not configuration.is_list(section, name):
        if len(texts) != 1:
            raise UsageError(f"{section}.{name} has one value", hint="quote it if it has blanks")
        return configuration.value_of(texts[0])
    if len(texts) == 1 and isinstance(parsed := configuration.value_of(texts[0]), list):
        return parsed
    default = getattr(getattr(configuration.Config(), section), name)
    # What looks like a number is one only where numbers are meant: an argument of a program may be "5".
    of_numbers = any(isinstance(part, int) for part in default)
    return [configuration.value_of(text) if of_numbers else text for text in texts]


def _edit(home: Path, change: Callable[[str], str]) -> Edited:
    paths = HomePaths(home)
    system.private_dir(paths.home)
    path = paths.config
    with _alone(paths.config_lock):
        for _ in range(_TRIES):
            before = configuration.text_of(path)
            text = DEFAULT_TEXT if before is None else before
            _require_toml(text, path)
            after = change(text)
            try:
                configuration.check(tomllib.loads(after), path.name)
            except ConfigError as error:
                raise ConfigError(
                    f"{error.message}; nothing was written", hint=error.hint
                ) from None
            if after == before:
                return Edited(path, changed=False)
            if configuration.text_of(path) == before:
                _replace(path, after)
                return Edited(path, changed=True)
    raise UnavailableError(f"{path} is being changed by another program", hint="try again")


def _require_toml(text: str, path: Path) -> None:
    """Raise ConfigError for a file that has to be mended by hand first."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path.name}: not valid TOML: {error}", hint=f"mend it first: $EDITOR {path}"
        ) from None


@contextmanager
def _alone(lock_path: Path) -> Iterator[None]:
    """Hold the lock. Raises UnavailableError if somebody else has it for too long, StorageError."""
    try:
        lock = system.open_private(lock_path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise StorageError(f"cannot open {lock_path}: {error.strerror}") from None
    try:
        deadline_s = time.monotonic() + LOCK_S
        while not system.try_lock(lock):
            if time.monotonic() > deadline_s:
                raise UnavailableError("another command has been changing config.toml for too long")
            time.sleep(_POLL_S)
        yield
    except OSError as error:
        raise StorageError(f"cannot change config.toml: {error.strerror}") from None
    finally:
        os.close(lock)


def _replace(path: Path, text: str) -> None:
    """Put the text in the place of the file, whole or not at all, with its rights. A link stays one.

    Raises LockedError for a file that is not the user's to change, OSError.
    """
    # It is read through a link, as those have it who keep such files elsewhere; so it is changed there.
    there = path.resolve() if path.is_symlink() else path
    mode = None
    try:
        status = there.stat()
    except FileNotFoundError:
        pass
    else:
        mode = stat.S_IMODE(status.st_mode)
        if not system.owns(status):
            raise LockedError(f"{there} belongs to another user")
        if not mode & stat.S_IWUSR:
            raise LockedError(f"{there} is read-only", hint=f"chmod u+w {there}")
    system.write_file_durably(there, text.encode(), mode=mode)


# -- the text


def _with(text: str, section: str, name: str, value: Any) -> str:
    """Return the text with a key set. Raises ConfigError if that cannot be done without touching anything else."""
    import tomlkit

    wanted = tomllib.loads(text)
    is_new = name not in wanted.get(section, {})
    wanted.setdefault(section, {})[name] = value
    line = f"{name} = {tomlkit.item(value).as_string()}"
    beside = _beside_its_comment(text, section, name, line) if is_new else None
    if beside is not None and _means(beside, wanted):
        return beside

    def change(document: Any) -> None:
        if section not in document:
            document[section] = tomlkit.table()
        document[section][name] = value

    return _changed(text, change, wanted)


def _without(text: str, section: str, name: str) -> str:
    wanted = tomllib.loads(text)
    del wanted[section][name]

    def change(document: Any) -> None:
        del document[section][name]

    return _changed(text, change, wanted)


def _changed(text: str, change: Callable[[Any], None], wanted: dict[str, Any]) -> str:
    """Return the text after a change, which must mean what is wanted. Raises ConfigError if it does not."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    after = ""
    with suppress(TOMLKitError):
        document = tomlkit.parse(text)
        change(document)
        after = tomlkit.dumps(document)
    if not _means(after, wanted):
        raise ConfigError(
            "config.toml is written in a way that no program can change",
            hint='change it by hand: $EDITOR "$(peerpost config path)"',
        )
    return after


def _beside_its_comment(text: str, section: str, name: str, line: str) -> str | None:
    """Return the text with a line below the comment that shows the default of the key, if there is one."""
    lines = text.splitlines(keepends=True)
    here = None
    for number, one in enumerate(lines):
        if (head := re.match(r"\s*\[([^\[\]]+)\]\s*(#.*)?$", one)) is not None:
            here = head[1].strip()
        elif here == section and re.match(rf"#\s*{re.escape(name)}\s*=", one):
            end = "\r\n" if one.endswith("\r\n") else "\n"
            lines[number] = one if one.endswith("\n") else one + end
            return "".join([*lines[: number + 1], line + end, *lines[number + 1 :]])
    return None


def _means(text: str, wanted: dict[str, Any]) -> bool:
    """Return whether a text has these values; a section without any may be there or not."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return _filled(found) == _filled(wanted)


def _filled(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value != {}}
