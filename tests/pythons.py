"""The suite on the other Pythons that this machine has: `python3 dev.py test --python 3.13 [pytest arguments]`.

Each has an environment of its own, `.venv-3.13`. Without `--python`, a part of the suite that goes through every layer,
with two real nodes, runs on each that is found; of one that is not found a line says so. The whole suite takes minutes,
and what differs between Pythons is the loop, signals, threads and the compiled modules: this part is about those.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["claimed", "find", "main"]

ROOT = Path(__file__).parents[1]
QUICK = (
    "tests/test_loops.py",
    "tests/fastpath/test_blake2.py",
    "tests/fastpath/test_padding.py",
    "tests/messenger/wire",
    "tests/messenger/store/db/test_engine.py",
    "tests/messenger/net/tcp/test_guest.py",
    "tests/messenger/net/mux/test_connection.py",
    "tests/messenger/net/tcp/test_signals.py",
    "tests/messenger/node/test_tasks.py",
    "tests/messenger/node/session/test_together.py",
    "tests/messenger/node/control/test_caller.py",
    "tests/messenger/node/control/test_server.py",
    "tests/messenger/client/test_ask.py",
    "tests/cli/test_main.py",
    "tests/e2e/test_interrupted.py",
    "tests/e2e/test_one_after_another.py",
    "tests/e2e/test_stream.py",
    "tests/e2e/test_takeover.py::test_a_file_goes_on_over_the_node_that_took_over",
    "tests/e2e/test_spinning.py::test_a_signal_ends_it[test.never-15]",
)
"""About a minute of two processors for each Python, and another for its environment when there is none yet."""


def say(text: str) -> None:
    """Tell on stderr, as dev.py does."""
    sys.stderr.write(f"dev.py: {text}\n")
    sys.stderr.flush()


def claimed() -> list[str]:
    """Return the versions that pyproject.toml says the package runs on, the oldest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: 3."
    found = {int(c.removeprefix(prefix)) for c in project["classifiers"] if c.startswith(prefix)}
    return [f"3.{minor}" for minor in sorted(found)]


def candidates(version: str) -> Iterator[Path]:
    """Yield where an interpreter of a version may be: on the PATH, and in the folder of versions of pyenv."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield Path(folder, f"python{version}")
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(root.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)


def find(version: str) -> Path | None:
    """Return an interpreter of a version that really runs and can make an environment, or None."""
    question = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    for path in candidates(version):
        if not os.access(path, os.X_OK):
            continue
        # A shim of a version manager may exist and still refuse to run.
        asked = [str(path), "-c", question]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.split() == [version]:
            return path
    return None


def run_on(version: str, python: Path, arguments: list[str]) -> int:
    """Run pytest on a version, in its own environment; return the exit code."""
    env = {**os.environ, "PEERPOST_VENV": f".venv-{version}"}
    command = [str(python), str(ROOT / "dev.py"), "pytest", *arguments]
    return subprocess.call(command, cwd=ROOT, env=env)


def run_quick() -> int:
    """Run the part on each other Python that is here; return the worst exit code."""
    worst = 0
    for version in claimed():
        if version == f"3.{sys.version_info.minor}":
            continue
        python = find(version)
        if python is None:
            say(f"Python {version} was not found here (PATH, pyenv): nothing was run on it")
            continue
        started_s = time.monotonic()
        code = run_on(version, python, list(QUICK))
        worst = max(worst, code)
        outcome = f"FAILED ({code})" if code else "passed"
        say(f"Python {version} ({python}): {outcome}, {time.monotonic() - started_s:.0f} s")
    return worst


def main(arguments: list[str]) -> int:
    """Run what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="dev.py test", allow_abbrev=False)
    parser.add_argument("--python", metavar="VERSION", choices=claimed())
    options, rest = parser.parse_known_args(arguments)
    if options.python is None:
        return run_quick()
    python = find(options.python)
    if python is None:
        say(f"error: Python {options.python} was not found here (PATH, pyenv)")
        return 1
    return run_on(options.python, python, rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
