"""Install the built wheel for a user: `python3 dev.py install [--to PREFIX] [--with EXTRA]`, again to update.

    PREFIX/lib/peerpost/NAME/     an environment; what was installed before stays beside it, for nodes that still run
    PREFIX/bin/peerpost           a link to the command in the newest
    PREFIX/share/man/man1/        the manual pages, made from the commands

Standard library only, as dev.py is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import dev

__all__ = ["InstallError", "install", "is_on_path"]


EXTRAS = "peerpost-extras"
"""The file in an environment that names what it was installed with."""


class InstallError(Exception):
    """Says why nothing was installed; what was there before is as it was."""


def install(
    python: str,
    env: dict[str, str],
    wheel: Path,
    stand_ins: Path,
    prefix: Path,
    extras: Iterable[str] = (),
) -> Path:
    """Install a wheel with extras, and with those that it had before; return the link to its command.

    Raises InstallError.
    """
    command = prefix / "bin" / "peerpost"
    kept = prefix / "lib" / "peerpost"
    before = _ours(command, kept)
    fresh = None
    try:
        for folder in (kept, command.parent):
            folder.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="env-", dir=kept))
        fresh.chmod(0o755)
        _run([python, "-m", "venv", str(fresh)], env)
        pip = [str(fresh / "bin" / "python"), "-m", "pip", "install", "-q", "--find-links"]
        wanted = sorted({*extras, *_extras(before)})
        named = f"{wheel}[{','.join(wanted)}]" if wanted else str(wheel)
        _run([*pip, str(stand_ins), "--only-binary", "fastecdsa", named], env)
        (fresh / EXTRAS).write_text("\n".join(wanted), encoding="ascii")
        draft = command.with_name(f".{fresh.name}")
        draft.symlink_to(fresh / "bin" / "peerpost")
        draft.replace(command)
    except (OSError, InstallError) as error:
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)
        raise InstallError(str(error)) from None
    for old in kept.iterdir():
        if old not in {fresh, before}:
            shutil.rmtree(old, ignore_errors=True)
    return command


def _extras(environment: Path | None) -> list[str]:
    """Return the extras that an environment was installed with."""
    file = None if environment is None else environment / EXTRAS
    return file.read_text(encoding="ascii").split() if file is not None and file.exists() else []


def is_on_path(command: Path) -> bool:
    """Return whether a shell finds this command by its name alone."""
    found = shutil.which(command.name)
    return found is not None and Path(found).parent.samefile(command.parent)


def _ours(command: Path, kept: Path) -> Path | None:
    """Return the environment that the link leads into. Raises InstallError if it is no link of ours."""
    if not os.path.lexists(command):
        return None
    target = command.readlink() if command.is_symlink() else command
    if target.parent.parent.parent != kept:
        raise InstallError(f"{command} exists, and was not installed by this: move it away first")
    return target.parent.parent


def _run(command: list[str], env: dict[str, str]) -> None:
    code, output = dev.ask(command, env)
    if code:
        raise InstallError(f"{' '.join(command)}\n{output}")


def main(arguments: list[str]) -> int:
    """Install what dev.py has built; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="dev.py install", description="Install the command peerpost."
    )
    parser.add_argument("--to", metavar="PREFIX", default="~/.local", help="where to (~/.local)")
    parser.add_argument(
        "--with", metavar="EXTRA", dest="extras", action="append", default=[],
        choices=("tui", "mcp", "keyring"),
        help="also what this needs: tui (chat on the screen), mcp, keyring",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    prefix = Path(given.to).expanduser().absolute()
    if os.name == "nt":
        dev.note("error: this is for Linux and macOS; on Windows see wheels/README.md")
        return 1
    env = {name: value for name, value in dev.environment().items() if name != "VIRTUAL_ENV"}
    wheel = next((dev.WORK / "dist").glob("*.whl"))
    dev.note(f"installing into {prefix} (a minute)")
    try:
        command = install(
            getattr(sys, "_base_executable", sys.executable), env, wheel, dev.STAND_INS, prefix,
            given.extras,
        )  # fmt: skip
    except InstallError as error:
        dev.note(f"error: {error}")
        return 1
    sys.stdout.write(f"{command}\n")
    # Without the pages, the command does all that it does with them.
    pages = prefix / "share" / "man" / "man1"
    code, output = dev.ask([sys.executable, "-m", "docs.man", str(pages)], dev.environment())
    if code:
        dev.note(f"without manual pages: {output}")
    dev.note("a node that runs goes on as it was until: peerpost node stop")
    if not is_on_path(command):
        dev.note(f"it is not on your PATH yet; in ~/.profile: export PATH={command.parent}:$PATH")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
