"""Who may import whom, read from the source: the layers stay layers.

`FOLDERS` names for each folder what it may import of ours. In `PURE` nothing reads a clock, draws a
random number, touches a file or a socket, logs or awaits: those are arguments, and so a simulation
can be the whole world of these machines. The checker is tried on planted violations first.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPPED = {"messenger": "peerpost", "cli": "peerpost.cli", "fastpath": "peerpost.fastpath"}

# Modules of a folder that make a group with rules of their own. The lobby of the node is what every
# room is handed; its home is one life of an open home, which the methods of the control socket see.
GROUPS: dict[str, tuple[str, ...]] = {
    "node.lobby": (
        *("causes", "clock", "deriving", "duties", "encoded", "events", "log_levels", "logs"),
        *("machine_trace", "me", "services", "settings", "tasks"),
    ),
    "node.home": (
        *("attempts", "health", "home", "host", "listening", "new_home", "protection", "retention"),
        *("configured", "cursors", "deleting", "described", "hook", "opened", "past", "reloading"),
        *("restoring", "unfinished"),
    ),
    # What a chat knows, and how it says it: without effects, as the core is.
    "cli.chat.known": ("conversation", "events", "model", "rows", "typed", "words"),
}
GROUP_OF = {
    f"{group.rpartition('.')[0]}.{name}": group for group, names in GROUPS.items() for name in names
}

# What each folder may import: folders, groups, or single modules of ours. What is inside of one may
# always import the rest of it.
TOOLS = {"errors", "raw_bytes", "stdio", "stopping", "system", "invisible", "holes"}
BELOW = TOOLS | {"fastpath", "wire", "crypto", "protocol", "bundle"}
STORE = {"store", "store.db", "store.tables", "store.files"}
NET = {"net", "net.mux", "net.tcp"}
FOLDERS: dict[str, set[str]] = {
    "": set(),
    "raw_bytes": set(),
    "errors": {"raw_bytes"},
    "stdio": {"errors", "stopping", "system"},
    "stopping": set(),
    "system": {"errors"},
    "invisible": set(),
    "holes": set(),
    "fastpath": set(),
    "bundle": {"errors", "system", "wire", "crypto"},
    "wire": {"errors", "fastpath"},
    "crypto": {"errors", "fastpath", "wire"},
    "protocol": {"errors", "fastpath", "wire", "crypto"},
    "store": {"errors", "system", "crypto"},
    "store.db": {"errors", "system", "crypto", "store"},
    "store.files": (BELOW - {"protocol"}) | {"store"},
    "store.tables": (BELOW - {"protocol"}) | {"store", "store.db", "store.files"},
    "net": {"errors", "system", "fastpath", "wire"},
    "net.mux": {"errors", "system", "fastpath", "wire", "net"},
    "net.tcp": {"errors", "system", "fastpath", "wire", "net", "net.mux"},
    "client": {"", "errors", "invisible", "raw_bytes", "stdio", "stopping", "system", "wire"}
    | {"crypto.passphrase"},
    "node.session": BELOW | STORE | {"net", "client", "node.clock"},
    "node.lobby": BELOW | STORE | {"client", "node.session.rates"},
    "node.files": BELOW | STORE | {"client", "node.lobby", "node.session"},
    "node.contact": BELOW | STORE | {"net", "node.lobby", "node.session", "node.files"},
    "node.home": BELOW
    | STORE
    | {"", "net", "client", "node.lobby", "node.session", "node.files", "node.contact"},
    "node.control": {"errors", "system", "client", "node.lobby"},
    "node.control.methods": BELOW
    | STORE
    | {"client", "node.lobby", "node.session", "node.files", "node.contact", "node.home"},
    "node": BELOW
    | STORE
    | {"", "client", "node.lobby", "node.home", "node.control", "node.control.methods"}
    | {"node.files.transfers"},
    "cli": TOOLS | {"", "client", "bundle", "store.files.names", "crypto.recovery"},
    "cli.commands": TOOLS | {"", "client", "cli", "cli.chat", "cli.chat.screen"},
    "cli.chat.known": {"errors", "client.units", "cli.progress", "cli.safe", "cli.times"},
    "cli.chat": TOOLS | {"client", "cli", "cli.chat.known"},
    "cli.chat.screen": TOOLS | {"cli", "cli.chat", "cli.chat.known"},
    # The liar of the demonstration is a node with one part replaced.
    "demo": TOOLS | {"", "protocol", "store.tables", "client", "node", "node.lobby", "node.files"},
}
PURE = {"wire", "crypto", "protocol"}
PURE_GROUPS = {"cli.chat.known"}  # these may turn a time into words
GUESTS = {"libp2p", "trio"}  # for net/ alone
ON_ASYNCIO = {"peerpost.client.async_api"}  # no command loads it

IMPURE_MODULES = {
    *("asyncio", "concurrent", "datetime", "io", "logging", "mmap", "multiprocessing", "os"),
    *("pathlib", "random", "secrets", "select", "selectors", "shutil", "socket", "ssl"),
    *("subprocess", "tempfile", "threading", "time", "nacl.utils", "uvloop"),
}
IMPURE_BUILTINS = {"open", "input", "print", "breakpoint"}
IMPURE_METHODS = {"generate", "generate_key", "urandom"}  # keys that draw their own randomness


@dataclass(frozen=True)
class Module:
    """A source file under the name it is imported by."""

    name: str
    folder: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> list[str]:
        """The package that relative imports start from."""
        parts = self.name.split(".")
        return parts if self.path.name == "__init__.py" else parts[:-1]


def folder_of(name: str) -> str:
    """Return the group or folder that a module of ours lies in, as FOLDERS names it."""
    inner = name.partition(".")[2]
    if inner in GROUP_OF:
        return GROUP_OF[inner]
    while inner and inner not in FOLDERS:
        inner, _, last = inner.rpartition(".")
        if not inner:
            return last
    return inner


def layer_of(folder: str) -> str:
    return folder.partition(".")[0]


def modules(root: Path) -> list[Module]:
    """Return every module under the mapped folders of a tree."""
    found = []
    for folder, prefix in MAPPED.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = [prefix, *path.relative_to(root / folder).with_suffix("").parts]
            name = ".".join(part for part in parts if part != "__init__")
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
            found.append(Module(name, folder_of(name), path, tree))
    return found


def imports(module: Module, known: set[str]) -> Iterator[tuple[str, int, int]]:
    """Yield (module imported, line, dots of a relative import), however it is written."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, 0
        elif isinstance(node, ast.ImportFrom):
            base = module.package[: len(module.package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield (
                    (inner if inner in known or not is_ours(source) else source),
                    *(
                        node.lineno,
                        node.level,
                    ),
                )


def is_ours(name: str) -> bool:
    return name.partition(".")[0] == "peerpost"


def matches(name: str, banned: set[str]) -> bool:
    """Tell whether a module or one that it lies in is among the banned."""
    parts = name.split(".")
    return any(".".join(parts[: i + 1]) in banned for i in range(len(parts)))


def import_faults(module: Module, known: set[str]) -> Iterator[str]:
    """Yield what is wrong with the imports of a module."""
    rule = FOLDERS.get(module.folder)
    if rule is None:
        yield f"{module.path}: {module.folder}/ has no rule; give it one in FOLDERS"
        return
    layer = layer_of(module.folder)
    for name, line, level in imports(module, known):
        where = f"{module.path}:{line}"
        target = folder_of(name)
        inner = name.partition(".")[2]
        if matches(name, set(MAPPED)):
            yield f"{where}: {name} is the name of a folder; import peerpost"
        elif matches(name, GUESTS) and layer != "net":
            yield f"{where}: only net/ imports {name}"
        elif layer in PURE and matches(name, IMPURE_MODULES):
            yield f"{where}: {layer}/ must not import {name}"
        elif module.folder in PURE_GROUPS and matches(name, IMPURE_MODULES - {"datetime"}):
            yield f"{where}: {module.folder} must not import {name}"
        elif matches(name, {"textual"}) and module.folder != "cli.chat.screen":
            yield f"{where}: only cli/chat/screen/ imports {name}"
        elif layer == "client" and matches(name, {"asyncio"}) and module.name not in ON_ASYNCIO:
            yield f"{where}: a client of the node must not import {name}"
        elif is_ours(name):
            if not stays(level, module):
                yield f"{where}: a relative import leaves {module.folder}/"
            elif target != module.folder and not {target, inner} & rule:
                yield f"{where}: {module.folder or 'peerpost'} must not import {name}"


def stays(level: int, module: Module) -> bool:
    """Tell whether a relative import of so many dots stays in its folder; the command line counts as one."""
    if layer_of(module.folder) == "cli":
        return level <= len(module.package) - 1
    return level <= 1


def circles(root: Path) -> list[list[str]]:
    """Return the modules that import each other, also through others and for their types alone."""
    every = modules(root)
    known = {module.name for module in every}
    arrows: dict[str, set[str]] = {module.name: set() for module in every}
    for module in every:
        for name, _, _ in imports(module, known):
            while name not in known and "." in name:
                name = name.rpartition(".")[0]
            if name in known and name != module.name:
                arrows[module.name].add(name)
    # Whoever imports nothing that is left is in no circle, nor is who is imported by nothing left.
    while True:
        left = set(arrows)
        wanted = set().union(*(targets & left for targets in arrows.values()))
        kept = {
            name: targets & left
            for name, targets in arrows.items()
            if targets & left and name in wanted
        }
        if kept == arrows:
            return [sorted(arrows)] if arrows else []
        arrows = kept


def effect_faults(module: Module) -> Iterator[str]:
    """Yield the effects in a module that should have none."""
    for node in ast.walk(module.tree):
        effect = None
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            effect = "await"
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in IMPURE_BUILTINS:
                effect = f"call {called.id}()"
            elif isinstance(called, ast.Attribute) and called.attr in IMPURE_METHODS:
                effect = f"call .{called.attr}()"
        if effect:
            yield f"{module.path}:{node.lineno}: {module.folder}/ must not {effect}"


def faults(root: Path) -> list[str]:
    """Return everything that breaks the rules in a tree."""
    every = modules(root)
    known = {module.name for module in every}
    found = []
    for module in every:
        found += import_faults(module, known)
        if layer_of(module.folder) in PURE or module.folder in PURE_GROUPS:
            found += effect_faults(module)
    return [fault.replace(f"{root}/", "") for fault in found]


@pytest.mark.slow
def test_the_layers_of_this_tree() -> None:
    assert faults(ROOT) == []


@pytest.mark.slow
def test_no_two_modules_import_each_other() -> None:
    assert circles(ROOT) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    plant(tmp_path / "messenger/node/a.py", "from peerpost.store import b")
    plant(tmp_path / "messenger/store/b.py", "if TYPE_CHECKING:\n    from peerpost.node.c import C")
    plant(tmp_path / "messenger/node/c.py", "from .a import A")
    plant(tmp_path / "messenger/node/d.py", "from . import a")
    assert circles(tmp_path) == [["peerpost.node.a", "peerpost.node.c", "peerpost.store.b"]]


@pytest.mark.slow
def test_nothing_else_imports_by_the_name_of_a_folder() -> None:
    for path in [*(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for name, line, _ in imports(Module("tests", "tests", path, tree), set()):
            assert not matches(name, set(MAPPED)), f"{path}:{line} imports {name}"


@pytest.mark.parametrize(
    ("place", "source", "fault"),
    [
        ("messenger/wire/x.py", "from peerpost.crypto import keys", "must not import"),
        ("messenger/wire/x.py", "from ..crypto.keys import sign", "leaves wire/"),
        ("messenger/wire/x.py", "def f():\n    import peerpost.store.db.engine", "must not import"),
        ("messenger/wire/x.py", "from peerpost import store", "must not import"),
        ("messenger/crypto/x.py", "import time", "must not import time"),
        ("messenger/crypto/x.py", "from time import monotonic", "must not import time"),
        ("messenger/crypto/x.py", "import os.path", "must not import os"),
        ("messenger/crypto/x.py", "from nacl import utils", "must not import nacl.utils"),
        ("messenger/crypto/x.py", "key = SigningKey.generate()", "must not call .generate()"),
        ("messenger/protocol/x.py", "def f():\n    return open('x')", "must not call open()"),
        ("messenger/protocol/x.py", "async def f():\n    pass", "must not await"),
        ("messenger/protocol/x.py", "import logging", "must not import logging"),
        ("messenger/protocol/x.py", "from peerpost.net import interface", "must not import"),
        ("messenger/net/x.py", "from peerpost.crypto import keys", "must not import"),
        ("messenger/node/x.py", "import trio", "only net/ imports trio"),
        ("messenger/node/x.py", "from libp2p.host import basic_host", "only net/ imports libp2p"),
        ("messenger/node/x.py", "from peerpost.cli import main", "must not import"),
        ("messenger/node/x.py", "import messenger.wire", "is the name of a folder"),
        ("messenger/node/x.py", "from fastpath import leaves", "is the name of a folder"),
        ("messenger/net/tcp/x.py", "from peerpost.crypto import keys", "must not import"),
        ("messenger/net/mux/x.py", "from peerpost.net.tcp import guest", "must not import"),
        ("messenger/net/x.py", "from peerpost.net.mux import yamux", "must not import"),
        ("messenger/store/db/x.py", "from peerpost.store.tables import inbox", "must not import"),
        (
            "messenger/store/files/x.py",
            "from peerpost.store.tables import inbox",
            "must not import",
        ),
        ("messenger/store/tables/x.py", "from ..db import engine", "leaves store.tables/"),
        ("messenger/client/ask.py", "from peerpost.node.node import Node", "must not import"),
        ("messenger/client/ask.py", "from peerpost.node.clock import SYSTEM", "must not import"),
        ("messenger/client/ask.py", "import asyncio", "a client of the node"),
        ("messenger/node/session/x.py", "from peerpost.node.services import S", "must not import"),
        ("messenger/node/session/x.py", "from peerpost.node.files import queue", "must not import"),
        ("messenger/node/files/x.py", "from peerpost.node.contact import peer", "must not import"),
        ("messenger/node/files/x.py", "from peerpost.node.home import Home", "must not import"),
        ("messenger/node/contact/x.py", "from peerpost.node.home import Opened", "must not import"),
        ("messenger/node/contact/x.py", "from peerpost.node.control import server", "must not"),
        ("messenger/node/services.py", "from peerpost.node.files import spool", "must not import"),
        ("messenger/node/home.py", "from peerpost.node.control import server", "must not import"),
        ("messenger/node/home.py", "from .node import Node", "must not import"),
        ("messenger/node/control/server.py", "from peerpost.node.home import H", "must not import"),
        ("messenger/node/control/server.py", "from .methods import send", "must not import"),
        ("messenger/node/control/methods/x.py", "from peerpost.node.node import N", "must not"),
        ("messenger/node/control/methods/x.py", "from ..server import S", "leaves"),
        ("messenger/errors.py", "import peerpost.wire.limits", "must not import"),
        ("messenger/new/x.py", "import peerpost", "has no rule"),
        ("cli/x.py", "from peerpost.node.node import Node", "must not import"),
        ("cli/x.py", "from peerpost.store.db.engine import Store", "must not import"),
        ("cli/commands/x.py", "from ...store import engine", "leaves cli"),
        ("fastpath/x.py", "from peerpost.errors import UsageError", "must not import"),
        ("cli/chat/model.py", "from peerpost.client.ask import call", "must not import"),
        ("cli/chat/model.py", "from ..terminal import Terminal", "must not import"),
        ("cli/chat/words.py", "import os", "must not import os"),
        ("cli/chat/words.py", "def f():\n    print('x')", "must not call print()"),
        ("cli/chat/linear.py", "from textual.app import App", "only cli/chat/screen/ imports"),
        ("cli/chat/screen/x.py", "from peerpost.client.ask import call", "must not import"),
        ("cli/chat/x.py", "from peerpost.node.node import Node", "must not import"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, place: str, source: str, fault: str) -> None:
    for module in ("store/db/engine", "crypto/keys", "node/node", "net/interface"):
        plant(tmp_path / "messenger" / f"{module}.py", "")
    plant(tmp_path / place, source)
    found = faults(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(place)
    assert fault in found[0]


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("messenger/wire/x.py", "from peerpost import fastpath\nfrom peerpost.errors import A"),
        ("messenger/wire/x.py", "import struct, hashlib\nfrom . import limits"),
        ("messenger/crypto/x.py", "from nacl import bindings\nfrom peerpost.wire import limits"),
        ("messenger/net/x.py", "import trio\nimport libp2p\nimport asyncio"),
        (
            "messenger/node/control/methods/x.py",
            "from peerpost.node.home import O\nfrom . import y",
        ),
        (
            "messenger/node/contact/x.py",
            "from peerpost.node.files.spool import S\nfrom .y import Z",
        ),
        ("messenger/node/x.py", "from peerpost import __version__\nimport time"),
        ("cli/commands/x.py", "from peerpost.client.ask import call\nfrom ..app import App"),
        ("cli/x.py", "from peerpost.client import config"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, place: str, source: str) -> None:
    plant(tmp_path / "messenger" / "client" / "config.py", "")
    plant(tmp_path / "fastpath" / "__init__.py", "")
    plant(tmp_path / place, source)
    assert faults(tmp_path) == []


HELP = """
import contextlib, io, sys
from peerpost.cli.main import main
sys.argv = ["peerpost", "--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main()
"""


def plant(path: Path, source: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source + "\n", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [
        "import peerpost, peerpost.errors",
        "import peerpost.client.ask",
        "import peerpost.cli.main",
        HELP,
    ],
    ids=["package", "client", "command line", "help"],
)
def test_what_the_command_line_must_not_load(program: str) -> None:
    heavy = ["trio", "libp2p", "asyncio", "apsw", "rich", "textual", "importlib.metadata"]
    question = f"\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program + question], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_files_stay_of_a_size_to_read() -> None:
    long = {}
    for folder in [*MAPPED, "tests", "bench", "wheels"]:
        for path in (ROOT / folder).rglob("*"):
            generated = path.suffix == ".c" and path.with_suffix(".pyx").exists()
            if path.suffix in {".py", ".pyx", ".pxd", ".c", ".h"} and not generated:
                lines = len(path.read_text(encoding="utf-8").splitlines())
                if lines > 550:
                    long[path.relative_to(ROOT).as_posix()] = lines
    for name in ("dev.py", "setup.py"):
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= 550
    assert long == {}
