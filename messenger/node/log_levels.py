"""The levels of the log in force, and who has set them: `log set`, an option, the environment, or the configuration.

Python's loggers are a tree whose names are the modules, so a directive is the level of one logger. Each line asks that
before it is put together. Libraries say only what is an error, and py-libp2p nothing, unless a directive names them.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from peerpost.client.directives import LEVELS, Directives, parse
from peerpost.errors import ConfigError, UsageError

__all__ = ["FILE", "SET", "apply", "apply_again", "choose", "follow_file", "set_", "show"]

SET: Final = "log set"
"""As whose directives those of the command count."""
FILE: Final = "config.toml"
_VARIABLES: Final = ("PEERPOST_LOG", "RUST_LOG")
_OFF: Final = LEVELS["off"]
_LIBRARIES: Final = {
    "libp2p": _OFF,  # It logs warnings and tracebacks about what peers do wrong; the node itself has a line for that.
    "trio": logging.ERROR,
    "multiaddr": logging.ERROR,
    "asyncio": logging.ERROR,
    "async_service": logging.ERROR,
}

log = logging.getLogger(__name__)


class _Levels:
    """What is in force in this process."""

    def __init__(self) -> None:
        self.now = parse("info")
        self.origin = "default"
        self.first = (self.now, self.origin)
        """What held when the node began, or what the file has said since."""
        self.before: dict[str, int] = {}
        """The levels that the loggers named now had before."""

    def put(self, directives: Directives, origin: str) -> None:
        self.now, self.origin = directives, origin
        self.apply()

    def apply(self) -> None:
        for name, level in self.before.items():
            logging.getLogger(name).setLevel(level)
        everything, targets = self.now.everything, self.now.targets
        self.before = {name: logging.getLogger(name).level for name in targets}
        logging.addLevelName(LEVELS["trace"], "TRACE")
        logging.getLogger().setLevel(everything)
        for name, level in _LIBRARIES.items():
            logging.getLogger(name).setLevel(max(level, everything))
        for name, level in targets.items():
            logging.getLogger(name).setLevel(level)
        # The library keeps its lines to itself when it is loaded.
        logging.getLogger("libp2p").propagate = any(_covers("libp2p", name) for name in targets)


_levels = _Levels()


def choose(option: str | None, environ: Mapping[str, str], of_file: str) -> None:
    """Put in force what counts first: the option, PEERPOST_LOG, RUST_LOG, or what the file says.

    Raises ConfigError for PEERPOST_LOG; what is wrong with RUST_LOG, which is there for other programs too, is logged.
    """
    wrong: str | None = None
    candidates = [("--log-level", option), *((name, environ.get(name)) for name in _VARIABLES)]
    for origin, text in (*candidates, (FILE, of_file)):
        if not text or not text.strip():
            continue
        try:
            directives = parse(text)
        except ValueError as error:
            if origin == _VARIABLES[0]:
                raise ConfigError(f"{origin}: {error}") from None
            wrong = f"{origin} is not heeded: {error}"
            continue
        _levels.put(directives, origin)
        break
    _levels.first = (_levels.now, _levels.origin)
    if wrong is not None:
        log.warning("%s", wrong)


def apply(level: str) -> None:
    """Put a level in force, before it is known what counts. Raises ValueError."""
    _levels.put(parse(level), "default")


def apply_again() -> None:
    """Put in force again what a library that was loaded meanwhile has set for itself."""
    _levels.apply()


def follow_file(of_file: str) -> str | None:
    """Take what the file says now. Return None, or what counts before it."""
    first_origin = _levels.first[1]
    if first_origin in (FILE, "default"):
        _levels.first = (parse(of_file), FILE)
    if _levels.origin not in (FILE, "default"):
        return _levels.origin
    _levels.put(*_levels.first)
    return None


def set_(text: str | None) -> list[str]:
    """Put directives in force until the node ends, or with None those of its start. Return targets that nobody has.

    Raises UsageError naming the part that is wrong.
    """
    if text is None:
        _levels.put(*_levels.first)
        return []
    try:
        directives = parse(text)
    except ValueError as error:
        raise UsageError(
            f"log directives: {error}", hint='such as: info, "debug,libp2p=warn", off'
        ) from None
    known = _known()
    strange = [name for name in directives.targets if not _is_known(name, known)]
    for name in directives.alone:
        if name in strange:
            raise UsageError(
                f"log directives: {name!r} is neither a level nor a logger",
                hint=_meant(name, (*LEVELS, *known)),
            )
    _levels.put(directives, SET)
    log.info("the log has other levels")
    return strange


def show() -> dict[str, Any]:
    """Describe what is in force, and where it is from."""
    return {"directives": _levels.now.text, "origin": _levels.origin}


def _known() -> set[str]:
    """Return the loggers of our own that exist by now, and the libraries."""
    ours = (name for name in logging.root.manager.loggerDict if _covers("peerpost", name))
    return {*ours, *_LIBRARIES}


def _is_known(name: str, known: Iterable[str]) -> bool:
    return any(_covers(one, name) if one in _LIBRARIES else one == name for one in known)


def _covers(above: str, name: str) -> bool:
    return name == above or name.startswith(f"{above}.")


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"the levels are {', '.join(LEVELS)}"
