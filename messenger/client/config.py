"""The configuration: `config.toml` in the home, overridden by `PEERPOST__SECTION__KEY`.

`DEFAULT_TEXT`, the commented file that the first run writes, says what each key means and what its
default is. An unknown key is an error that names the nearest known one: a typo must not silently
mean the default.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec

from peerpost.errors import BadInputError, ConfigError
from peerpost.system import read_plain, write_file_durably
from peerpost.wire.limits import MAX_BUCKETS, MIN_BUCKET_BYTES, PADDING_BUCKETS

from .config_text import DEFAULT_TEXT
from .logfile import KEPT, LIMIT_BYTES
from .paths import HomePaths
from .units import parse_duration, parse_size

__all__ = [
    "Config",
    "Log",
    "NetworkSection",
    "NodeSection",
    "Padding",
    "Setting",
    "Storage",
    "check",
    "is_list",
    "keys",
    "load",
    "read",
    "read_with_overrides",
    "settings",
    "text_of",
    "value_of",
]

MAX_FILE_BYTES = 1 << 20
"""A configuration is about a page long; a file of this size is something else."""
ENV_PREFIX = "PEERPOST__"

Size = Annotated[int, msgspec.Meta(ge=0, extra={"unit": "size"})]
Duration = Annotated[float, msgspec.Meta(ge=0, extra={"unit": "duration"})]
SomeSize = Annotated[int, msgspec.Meta(ge=1, extra={"unit": "size"})]
KdfMemory = Annotated[int, msgspec.Meta(ge=64 << 20, le=2 << 30, extra={"unit": "size"})]
SomeTime = Annotated[float, msgspec.Meta(gt=0, extra={"unit": "duration"})]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class NodeSection(_Section, frozen=True, kw_only=True):
    """[node]"""

    idle_exit: Duration = 300.0
    """Seconds that a node which a command started stays when it has nothing to do."""


class NetworkSection(_Section, frozen=True, kw_only=True):
    """[network]"""

    listen: tuple[str, ...] = ()
    """Multiaddrs to listen at; empty means the port of this identity on every interface."""
    announce: tuple[str, ...] = ()
    """Multiaddrs told to contacts instead of those we see ourselves."""


class Storage(_Section, frozen=True, kw_only=True):
    """[storage]"""

    accept: Size | Literal["ask", "never"] = 100 << 20
    """Largest file taken from a contact without asking, in bytes."""
    spool_below: Size = 64 << 20
    """Files to send up to this many bytes are copied when queued."""
    min_free: Size = 1 << 30
    """Bytes that receiving leaves free on the disk."""
    quota: Size = 20 << 30
    """Bytes that everything one contact sent may take up, unless that contact has a quota of its own."""
    ballast: Size = 64 << 20
    """Bytes kept in reserve, given back when the disk is full so that the store can still write."""
    keep_for: SomeTime | Literal["off"] = "off"
    """Seconds that a message stays in the inbox."""
    keep_size: SomeSize | Literal["off"] = "off"
    """Bytes that all messages may take up, before the oldest go."""
    keep_count: Annotated[int, msgspec.Meta(ge=1)] | Literal["off"] = "off"
    """Messages that stay."""
    keep_of: tuple[str, ...] = ()
    """Other values for one contact, such as "nas for=30d size=10GiB count=1000"."""
    keep_unread: bool = True
    """Whether messages that were not read yet stay in any case."""
    downloads: str = "off"
    """Folder that received files are written to, plain; `off` keeps them sealed until they are saved."""


class Security(_Section, frozen=True, kw_only=True):
    """[security]"""

    lock_after: SomeTime | Literal["off"] = "off"
    """Seconds without a command after which a home with a passphrase is locked."""
    kdf_memory: KdfMemory | Literal["auto"] = "auto"
    """Bytes of memory that a try of a passphrase costs; `auto` takes what this machine does in a second."""


class Padding(_Section, frozen=True, kw_only=True):
    """[padding]"""

    mode: Literal["buckets", "off"] = "buckets"
    """How envelopes are padded."""
    buckets: tuple[Size, ...] = PADDING_BUCKETS
    """Sizes of an envelope on the stream, in bytes."""


class Limits(_Section, frozen=True, kw_only=True):
    """[limits]"""

    schedule: tuple[str, ...] = ()
    """Everybody's limits by the time of day, such as "mon-fri 08:00-18:00 up=1MB/s down=5MB/s"."""


class Hooks(_Section, frozen=True, kw_only=True):
    """[hooks]"""

    on_message: tuple[str, ...] = ()
    """A program and its arguments, run for each message that comes; empty runs none."""
    time_limit: SomeTime = 60.0
    """Seconds that it may take for one."""


class Features(_Section, frozen=True, kw_only=True):
    """[features]"""


class Log(_Section, frozen=True, kw_only=True):
    """[log]"""

    level: str = "info"
    """The least that is logged: a level, or directives as RUST_LOG has them."""
    format: Literal["text", "json"] = "text"
    """One line of text or one JSON object each."""
    size: Annotated[int, msgspec.Meta(ge=4096, extra={"unit": "size"})] = LIMIT_BYTES
    """Length at which the log of a node in the background is rotated."""
    kept: Annotated[int, msgspec.Meta(ge=0, le=100)] = KEPT
    """How many older logs stay."""


class Metrics(_Section, frozen=True, kw_only=True):
    """[metrics]"""


class Config(_Section, frozen=True, kw_only=True):
    """All of it."""

    node: NodeSection = NodeSection()
    network: NetworkSection = NetworkSection()
    storage: Storage = Storage()
    security: Security = Security()
    padding: Padding = Padding()
    limits: Limits = Limits()
    hooks: Hooks = Hooks()
    features: Features = Features()
    log: Log = Log()
    metrics: Metrics = Metrics()


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One key with its value and where that came from."""

    key: str
    value: Any
    origin: str
    """`default`, `config.toml`, or the name of the environment variable."""
    unit: str | None = None
    """`size` if the value is in bytes, `duration` if in seconds, else None."""


def load(home: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Return the configuration of a home, writing the commented default where there is none yet.

    Raises ConfigError naming what is wrong and where.
    """
    path = HomePaths(home).config
    if not path.exists():
        _write_default(path)
    return read(path, environ)


def read(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Return the configuration in a file (which may be missing) and the environment, without
    writing.
    """
    return read_with_overrides(path, environ)[0]


def read_with_overrides(
    path: Path, environ: Mapping[str, str] | None = None
) -> tuple[Config, dict[str, str]]:
    """Return what `read` does, and which keys that the file has are decided by which variable. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    document = _document(path)
    written = {(section, key) for section, table in document.items() for key in table}
    from_file = _convert(document, path.name)
    overrides = _overrides(environ)
    config = from_file
    for name, section, key, value in overrides:
        document.setdefault(section, {})[key] = value
        config = _convert(document, name)
    _check(config)
    decided = {
        f"{section}.{key}": name for name, section, key, _ in overrides if (section, key) in written
    }
    return config, decided


def settings(path: Path, environ: Mapping[str, str] | None = None) -> list[Setting]:
    """Return every key in order, with its value and origin. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    config = read(path, environ)
    document = _document(path)
    names = {(section, key): name for name, section, key, _ in _overrides(environ)}
    found = []
    for section in Config.__struct_fields__:
        hints = get_type_hints(type(getattr(config, section)), include_extras=True)
        for key in getattr(config, section).__struct_fields__:
            written = key in document.get(section, {})
            origin = names.get((section, key)) or (path.name if written else "default")
            value = getattr(getattr(config, section), key)
            unit = _unit(hints[key])
            found.append(Setting(key=f"{section}.{key}", value=value, origin=origin, unit=unit))
    return found


def _write_default(path: Path) -> None:
    """Write the commented default. Failure is ignored: that a home cannot be written shows elsewhere."""
    with suppress(OSError):
        write_file_durably(path, DEFAULT_TEXT.encode())


def keys() -> list[str]:
    """Return every key, as `section.key`, in the order of the file."""
    found = Config()
    return [
        f"{section}.{key}"
        for section in found.__struct_fields__
        for key in getattr(found, section).__struct_fields__
    ]


def check(document: dict[str, Any], source: str) -> None:
    """Raise ConfigError, which begins with the source, if a document is no configuration."""
    _require_tables(document, source)
    _check(_convert(document, source))


def text_of(path: Path) -> str | None:
    """Return the text of the file, or None where there is none. Raises ConfigError."""
    try:
        data = read_plain(path, MAX_FILE_BYTES + 1, follows=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES} bytes: not a configuration")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None


def _document(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(text_of(path) or "")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path.name}: not valid TOML: {error}", hint='strings need quotes: level = "debug"'
        ) from None
    _require_tables(document, path.name)
    return document


def _require_tables(document: dict[str, Any], source: str) -> None:
    for section, table in document.items():
        if section in Config.__struct_fields__ and not isinstance(table, dict):
            raise ConfigError(f"{source}: '{section}' is a section; write [{section}]")


def _overrides(environ: Mapping[str, str]) -> list[tuple[str, str, str, Any]]:
    """Return (variable, section, key, value) of each override in the environment."""
    found = []
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX):
            continue
        section, _, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
        if not key:
            raise ConfigError(f"{name}: expected PEERPOST__SECTION__KEY")
        value = value_of(environ[name])
        if isinstance(value, str) and is_list(section, key):
            value = [part.strip() for part in value.split(",") if part.strip()]
        found.append((name, section, key, value))
    return found


def value_of(text: str) -> Any:
    """Return a value parsed as TOML, or as a plain string if it is not TOML."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text


def is_list(section: str, key: str) -> bool:
    """Return whether the value of a key is a list."""
    default = getattr(getattr(Config(), section, None), key, None)
    return isinstance(default, tuple)


def _convert(document: dict[str, Any], source: str) -> Config:
    """Return the document as a Config, its sizes and durations parsed."""
    _known(document, Config.__struct_fields__, source, "section", lambda name: f"[{name}]")
    sections: dict[str, Any] = {}
    for section, table in document.items():
        type_ = get_type_hints(Config)[section]
        _known(table, type_.__struct_fields__, source, f"key in [{section}]", lambda name: name)
        hints = get_type_hints(type_, include_extras=True)
        parsed = {
            key: _parse(value, hints[key], f"{source}: [{section}] {key}")
            for key, value in table.items()
        }
        try:
            sections[section] = msgspec.convert(parsed, type_)
        except msgspec.ValidationError as error:
            text, _, place = str(error).partition(" - at `$.")
            key = place.rstrip("`") or "?"
            words = _words(hints.get(key))
            hint = f"one of: {', '.join(words)}" if words else None
            raise ConfigError(f"{source}: [{section}] {key}: {_plain(text)}", hint=hint) from None
    return Config(**sections)


def _known(
    table: Mapping[str, Any], known: tuple[str, ...], source: str, what: str, show: Any
) -> None:
    for name in table:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {show(near[0])!r}?" if near else None
        if hint is None:
            hint = f"known: {', '.join(known)}" if known else "this section has no keys yet"
        raise ConfigError(f"{source}: unknown {what}: {name!r}", hint=hint)


def _parse(value: Any, hint: Any, where: str) -> Any:
    """Return a value with "100MiB" or "5min" made a number, wherever its type is a size or duration."""
    unit = _unit(hint)
    if isinstance(value, list):
        return [
            _parse(part, get_args(hint)[0], where) if get_args(hint) else part for part in value
        ]
    if unit is None or not isinstance(value, str) or value in _words(hint):
        return value
    try:
        return parse_size(value) if unit == "size" else parse_duration(value)
    except ValueError as error:
        words = " or ".join(f'"{word}"' for word in _words(hint))
        raise ConfigError(f"{where}: {error}" + (f", or {words}" if words else "")) from None


def _unit(hint: Any) -> str | None:
    for part in (hint, *get_args(hint)):
        for meta in getattr(part, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.extra:
                return str(meta.extra["unit"])
    return None


def _words(hint: Any) -> tuple[str, ...]:
    """Return the words a type allows, such as "ask" or "never"."""
    parts = [word for part in (hint, *get_args(hint)) for word in get_args(part)]
    return tuple(dict.fromkeys(word for word in parts if isinstance(word, str)))


def _plain(text: str) -> str:
    """Return msgspec's complaint in words for the person who edits the file."""
    text = text.replace("Invalid enum value", "there is no")
    for theirs, ours in (
        ("`str`", "a string"),
        ("`bool`", "true or false"),
        ("`int`", "a whole number"),
        ("`array`", "a list"),
    ):
        text = text.replace(theirs, ours)
    return text[:1].lower() + text[1:].replace("`", "")


def _check(config: Config) -> None:
    """Raise ConfigError for a value that fits its type but is impossible."""
    buckets = config.padding.buckets
    if not 1 <= len(buckets) <= MAX_BUCKETS or any(a >= b for a, b in pairwise(buckets)):
        raise ConfigError(
            f"[padding] buckets: 1 to {MAX_BUCKETS} sizes, each larger than the one before"
        )
    if buckets[0] < MIN_BUCKET_BYTES or buckets[-1] != PADDING_BUCKETS[-1]:
        raise ConfigError(
            f"[padding] buckets: from {MIN_BUCKET_BYTES} bytes, the last {PADDING_BUCKETS[-1]}",
            hint="the largest bucket is what the longest message needs, whatever the padding",
        )
    _check_level(config.log.level)
    if config.limits.schedule:
        _check_schedule(config.limits.schedule)
    folder = config.storage.downloads
    if folder != "off" and not _leads_from_the_top(folder):
        raise ConfigError(
            f"[storage] downloads: {folder!r} is no path from the top",
            hint='"~/Downloads/peerpost", or "off"',
        )
    if config.hooks.on_message:
        _check_program(config.hooks.on_message)
    if config.storage.keep_of:
        _check_keep_of(config.storage.keep_of)
    if not config.network.listen and not config.network.announce:
        return
    from peerpost.wire import address

    for key, texts, listen in (
        ("listen", config.network.listen, True),
        ("announce", config.network.announce, False),
    ):
        for text in texts:
            try:
                address.parse(text, listen=listen)
            except BadInputError as error:
                raise ConfigError(f"[network] {key}: {error.message}", hint=error.hint) from None


def _leads_from_the_top(folder: str) -> bool:
    with suppress(RuntimeError):
        # Raised if there is no such user: `~nobody-here/`.
        return Path(folder).expanduser().is_absolute() and "\0" not in folder
    return False


def _check_program(argv: tuple[str, ...]) -> None:
    if not Path(argv[0]).is_absolute() or any("\0" in part for part in argv):
        raise ConfigError(
            f"[hooks] on_message: {argv[0]!r} is no path from the top",
            hint='a program and its arguments: ["/usr/local/bin/on-message", "--quietly"]',
        )


def _check_level(text: str) -> None:
    from .directives import LEVELS, parse

    try:
        parsed = parse(text)
    except ValueError as error:
        raise ConfigError(f"[log] level: {error}") from None
    # One word that is no level would be the name of a logger, and hide nearly everything else.
    if parsed.alone == (text,):
        raise ConfigError(f"[log] level: there is no {text!r}", hint=f"one of: {', '.join(LEVELS)}")


def _check_schedule(texts: tuple[str, ...]) -> None:
    from .schedule import parse

    for text in texts:
        try:
            parse(text)
        except ValueError as error:
            raise ConfigError(f"[limits] schedule: {error}") from None


def _check_keep_of(texts: tuple[str, ...]) -> None:
    from .keeping import parse

    names = set()
    for text in texts:
        try:
            name, _ = parse(text)
        except ValueError as error:
            raise ConfigError(f"[storage] keep_of: {error}") from None
        if name in names:
            raise ConfigError(f"[storage] keep_of: {name!r} has two lines", hint="write one line")
        names.add(name)
