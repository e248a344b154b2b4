#!/usr/bin/env python3
"""Build Peerpost into .venv, then run, test or measure it: `python3 dev.py COMMAND [ARGUMENTS]`.

Needs Python 3.11 to 3.13 with venv, and nothing else: what is missing is installed into .venv once.
What runs is always a built wheel, never the checkout. Without a C compiler or Python's headers the
native modules are left out with a warning, and their pure twins serve.
Standard library only. Older versions must be able to parse this file, because they get a message.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
VENV = ROOT / os.environ.get("PEERPOST_VENV", ".venv")
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STATE = VENV / "peerpost.json"  # what is installed, by hash
WORK = VENV / "build"
BUILD_LOG = WORK / "wheel.log"
STAND_INS = VENV / "wheels"

VERSIONS = ("3.13", "3.12", "3.11")  # the newest first
THIS_VERSION = ".".join(map(str, sys.version_info[:2]))
NATIVE_SUFFIXES = {".pyx", ".pxd", ".c", ".h"}
SOURCE_SUFFIXES = {".py", ".sql", ".md", ".typed"} | NATIVE_SUFFIXES

# Of the PIP_ variables only those that say where packages come from are passed on: one that moves
# the installation elsewhere (PIP_TARGET, PIP_USER) or forbids wheels would break it.
PIP_PASSED_ON = re.compile(
    "PIP_(CACHE_DIR|CERT|CLIENT_CERT|CONFIG_FILE|DEFAULT_TIMEOUT|EXTRA_INDEX_URL|FIND_LINKS"
    "|INDEX_URL|NO_INDEX|PROXY|RETRIES|TIMEOUT|TRUSTED_HOST)"
)
# These would make the interpreter of .venv look for modules elsewhere.
DROPPED = {"PYTHONHOME", "PYTHONPATH", "PYTHONSAFEPATH", "__PYVENV_LAUNCHER__"}
# These change what the compiler makes of the same sources.
BUILD_SWITCHES = ("CC", "CFLAGS", "LDFLAGS", "PEERPOST_LINETRACE", "PEERPOST_REQUIRE_NATIVE")
LAST_FAILED = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
MOST_AGAIN = 3  # more failures than that have a cause
UNSTABLE: list[str] = []  # tests that failed beside others and passed alone


class Problem(Exception):  # noqa: N818 - a message for the reader, not a fault of the program
    """Something the reader of the message can put right."""


def note(text: str) -> None:
    """Tell on stderr: stdout belongs to the command that is run."""
    print("dev.py: " + text, file=sys.stderr, flush=True)


def ask(command: Sequence[str | Path], env: dict[str, str]) -> tuple[int, str]:
    """Run a program in the checkout; return its exit code and all that it said."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout


# --- which interpreter -------------------------------------------------------------------------


def answers(python: str, *versions: str, module: str = "ensurepip") -> bool:
    """Return whether an interpreter really runs, is of one of some versions, and has a module."""
    question = f"import sys, {module}; print('%d.%d' % sys.version_info[:2])"
    # A shim of a version manager may exist and still refuse to run.
    code, output = ask([python, "-c", question], dict(os.environ))
    return code == 0 and output.split()[-1] in versions


def find_interpreter(path: str) -> str | None:
    """Return the first interpreter on a search path that answers, the newest version first."""
    suffix = ".exe" if os.name == "nt" else ""
    for name in [*(f"python{version}" for version in VERSIONS), "python3", "python"]:
        for folder in path.split(os.pathsep):
            candidate = str(Path(folder, name + suffix))
            if os.access(candidate, os.X_OK) and answers(candidate, *VERSIONS):
                return candidate
    return None


def settle_interpreter() -> None:
    """Go on under an interpreter that serves: this one, or else another, which replaces us."""
    hint = f"apt install python{THIS_VERSION}-venv"
    if THIS_VERSION in VERSIONS:
        with contextlib.suppress(ImportError):
            import ensurepip  # noqa: F401
            import venv  # noqa: F401

            return
        problem = f"Python {THIS_VERSION} here has no venv or ensurepip"
    else:
        hint = "apt install python3 python3-venv"
        problem = f"Peerpost needs Python 3.11, 3.12 or 3.13 and this is {THIS_VERSION}"
    other = find_interpreter(os.environ.get("PATH", ""))
    if other is None:
        raise Problem(f"{problem}; none other on PATH serves. On Debian and Ubuntu: {hint}")
    note(f"going on with {other}")
    replace([other, str(Path(__file__).resolve()), *sys.argv[1:]], dict(os.environ))


# --- running programs --------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """Return the environment of everything that runs in .venv."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in DROPPED and (not name.startswith("PIP_") or PIP_PASSED_ON.fullmatch(name))
    }
    kept.update(
        PATH=os.pathsep.join([str(BIN), kept.get("PATH", os.defpath)]),
        VIRTUAL_ENV=str(VENV),
        PYTHONNOUSERSITE="1",
        # Said outright, because a pip.conf may say otherwise.
        PIP_USER="0",
        PIP_REQUIRE_VIRTUALENV="0",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_NO_INPUT="1",
    )
    return kept


def replace(command: list[str], env: dict[str, str]) -> None:
    """Become another program (on Windows: run it and leave with its exit code)."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":
        raise SystemExit(subprocess.call(command, env=env))
    os.execve(command[0], command, env)  # noqa: S606


def pip(*arguments: str, log: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run the pip of .venv; its output is shown when it fails, and may be kept in a log."""
    code, output = ask([PYTHON, "-m", "pip", *arguments], env or environment())
    if log is not None:
        log.write_text(output, encoding="utf-8")
    if code:
        sys.stderr.write(output)
        raise Problem("pip failed; what it said stands above: pip " + " ".join(arguments))


# --- what stands in .venv ----------------------------------------------------------------------


def digest(texts: Sequence[str], paths: list[Path]) -> str:
    """Return one hash of texts, and of the names and contents of files."""
    parts = [text.encode() for text in texts]
    for path in paths:
        parts += [path.relative_to(ROOT).as_posix().encode(), path.read_bytes()]
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "big") + part)  # so that no two lists run together
    return state.hexdigest()


def wheel_sources() -> list[Path]:
    """Return everything that makes the wheel what it is."""
    found = [ROOT / "pyproject.toml", ROOT / "setup.py", ROOT / "README.md"]
    for folder in ("messenger", "cli", "fastpath"):
        for path in sorted((ROOT / folder).rglob("*")):
            # A .c beside a .pyx is Cython's, not ours.
            ours = path.suffix != ".c" or not path.with_suffix(".pyx").exists()
            if path.suffix in SOURCE_SUFFIXES and path.is_file() and ours:
                found.append(path)
    return found


def group(groups: dict[str, list[Any]], name: str) -> list[str]:
    """Return the requirements of a dependency group (PEP 735) with those it includes."""
    found: list[str] = []
    for entry in groups[name]:
        found += group(groups, entry["include-group"]) if isinstance(entry, dict) else [entry]
    return found


def ensure_venv() -> None:
    """Make .venv, again when its interpreter does not run or is of another version."""
    if PYTHON.exists() and answers(str(PYTHON), THIS_VERSION, module="pip"):
        return
    note(f"making .venv with {sys.executable}")
    code, output = ask([sys.executable, "-m", "venv", "--clear", VENV], environment())
    if code:
        raise Problem(f"could not make .venv: {output}")


def ensure_dependencies(state: dict[str, str], name: str) -> None:
    """Install what pyproject.toml names, with one of its groups, and the stand-in for fastecdsa."""
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = settings["dependency-groups"]
    wanted = {n: settings["project"]["dependencies"] + group(groups, n) for n in ("build", name)}
    stand_in = ROOT / "wheels" / "fastecdsa"
    files = [stand_in / "pyproject.toml", *sorted(stand_in.rglob("*.py"))]
    keys = {n: digest(wanted[n], files) for n in wanted}
    if state.get(name) == keys[name]:
        return
    note("installing the dependencies (once; a minute or two)")
    pip("install", "-q", *group(groups, "build"))
    shutil.rmtree(STAND_INS, ignore_errors=True)
    build_wheel(stand_in, STAND_INS)
    # --only-binary: were the stand-in not found, fail at once instead of compiling the sdist.
    choose = ["--find-links", str(STAND_INS), "--only-binary", "fastecdsa"]
    pip("install", "-q", *choose, *wanted[name])
    state.update(keys)
    STATE.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")


def build_wheel(source: Path, target: Path, switches: Sequence[str] = ()) -> Path:
    """Build a wheel with the tools in .venv; nothing is written beside the sources.

    Compiled modules are used again only while all that they are made of is the same: a build that
    may fail in silence must never ship what an earlier one left.
    """
    native = [path for path in wheel_sources() if path.suffix in NATIVE_SUFFIXES]
    base = WORK / f"{source.name}-{digest(switches, native)[:16]}"
    copied = [p for p in base.glob("lib*/**/*") if p.suffix not in {".so", ".pyd"}]
    for old in [*WORK.glob(f"{source.name}-*"), *copied, *target.glob("*.whl")]:
        if old.is_file():
            old.unlink()
        elif old.parent == WORK and old != base:
            shutil.rmtree(old)
    base.mkdir(parents=True, exist_ok=True)
    settings = base / "setup.cfg"
    settings.write_text(
        f"[build]\nbuild_base = {base}\n[egg_info]\negg_base = {base}\n"
        "[build_ext]\ncython_c_in_temp = 1\n",
        encoding="utf-8",
    )
    pip(
        *("wheel", "-v", "--no-deps", "--no-build-isolation", "--no-index"),
        *("--wheel-dir", str(target), str(source)),
        log=BUILD_LOG,
        env={**environment(), "DIST_EXTRA_CONFIG": str(settings)},
    )
    return next(target.glob("*.whl"))


def ensure_wheel(state: dict[str, str]) -> None:
    """Build Peerpost and install it, when a source or a switch of the compiler has changed."""
    switches = [f"{name}={os.environ.get(name, '')}" for name in BUILD_SWITCHES]
    key = digest(switches, wheel_sources())
    if state.get("wheel") != key or (state.get("pure") and not compiler_problem()):
        note("building Peerpost")
        wheel = build_wheel(ROOT, WORK / "dist", switches)
        pip("install", "-q", "--no-deps", "--no-index", "--force-reinstall", str(wheel))
        state["pure"] = why_pure()
        state["wheel"] = key
        STATE.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    if state.get("pure"):
        note(f"warning: running without the native modules, slower: {state['pure']}")


def why_pure() -> str:
    """Say why no native module was built, nothing when they were.

    Raises Problem when a compiler works and yet they were not: our sources are at fault.
    """
    question = "from peerpost import fastpath; print(fastpath.is_native())"
    _, output = ask([PYTHON, "-c", question], {**environment(), "PEERPOST_PURE": ""})
    if output.split()[-1:] == ["True"]:
        return ""
    if problem := compiler_problem():
        return problem
    sys.stderr.write(output)
    raise Problem(f"a C compiler works, but the native modules were not built: see {BUILD_LOG}")


def compiler_problem() -> str:
    """Say what hinders compiling a C module for Python here, nothing when nothing does."""
    if os.name == "nt":
        return "no C compiler (install the Visual Studio Build Tools)"
    import sysconfig

    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    include = sysconfig.get_path("include")
    found = [compiles(compiler, include, text) for text in ("int x;\n", "#include <Python.h>\n")]
    if found == [True, True]:
        return ""
    if found[0]:
        package = f"python{THIS_VERSION}-dev"
        return f"no Python.h in {include} (on Debian and Ubuntu: apt install {package})"
    return f"{' '.join(compiler)!r} does not compile (on Debian and Ubuntu: apt install gcc)"


def compiles(compiler: list[str], include: str, text: str) -> bool:
    """Return whether a compiler makes an object file of a C text; exit codes can lie (CC=true)."""
    source, target = WORK / "probe.c", WORK / "probe.o"
    source.write_text(text, encoding="ascii")
    target.unlink(missing_ok=True)
    ask([*compiler, "-I", include, "-c", source, "-o", target], environment())
    return target.exists()


def prepare(command: str) -> None:
    """Bring .venv up to date with the sources for a command; two at once take turns."""
    lock = ROOT / "build" / "dev.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        if os.name != "nt":
            import fcntl

            fcntl.flock(held, fcntl.LOCK_EX)
        ensure_venv()
        state: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError):
            state = json.loads(STATE.read_text(encoding="utf-8"))
        ensure_dependencies(state, "build" if command in {"demo", "install", "run"} else "dev")
        ensure_wheel(state)


# --- the commands ------------------------------------------------------------------------------


def tool(*command: str) -> int:
    """Run a module of .venv in the checkout, its output shown; return its exit code."""
    return subprocess.call([str(PYTHON), "-m", *command], cwd=ROOT, env=environment())


def lint_command(arguments: list[str]) -> int:
    """Check style and form; arguments go to ruff, in place of ours (`lint check --fix`)."""
    if arguments:
        return tool("ruff", *arguments)
    return tool("ruff", "check", "--quiet", ".") | tool("ruff", "format", "--check", "--quiet", ".")


def types_command(arguments: list[str]) -> int:
    """Check the types of the installed package, which is what ships; arguments go to mypy."""
    checks = {name: ["-p", "peerpost", "--platform", name] for name in ("linux", "darwin", "win32")}
    checks["dev.py"] = ["dev.py", "wheels"]
    command = [str(PYTHON), "-m", "mypy", "--strict"]
    # All at once, since each uses one processor; with a cache each, since the cache forgets the other platforms.
    running = [
        subprocess.Popen(
            [*command, "--cache-dir", f".mypy_cache/{name}", *check, *arguments],
            cwd=ROOT, env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for name, check in checks.items()
    ]  # fmt: skip
    code = 0
    for name, process in zip(checks, running, strict=True):
        output, _ = process.communicate()
        if process.returncode:
            note(f"mypy for {name}:")
            sys.stdout.buffer.write(output)
            code = process.returncode
    return code


def pytest_command(arguments: list[str]) -> int:
    """Check behaviour alone; arguments go to pytest. A few tests that fail beside others run once more, alone."""
    if not any(word in {"--lf", "--last-failed", "--ff", "--failed-first"} for word in arguments):
        LAST_FAILED.unlink(
            missing_ok=True
        )  # It keeps what failed in earlier runs and is not run in this one.
    code = tool("pytest", "-q", "-n", "4", "--dist", "worksteal", *arguments)
    failed = last_failed() if code == 1 else []
    if not 0 < len(failed) <= MOST_AGAIN:
        return code
    note(f"{len(failed)} failed beside others; once more, alone:")
    code = tool("pytest", "-q", *(["--quick"] if "--quick" in arguments else []), *failed)
    if code == 0:
        UNSTABLE.extend(failed)
        note(
            "UNSTABLE, passed alone (a race, or a busy machine: find out which): "
            + ", ".join(failed)
        )
    return code


def last_failed() -> list[str]:
    """Return the tests that failed in the last run of pytest."""
    try:
        return list(json.loads(LAST_FAILED.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []


def run_command(arguments: list[str]) -> int:
    """Run the command line of Peerpost."""
    replace([str(PYTHON.with_stem("peerpost")), *arguments], environment())
    return 0


def demo_command(arguments: list[str]) -> int:
    """Show two nodes exchanging a text and files, also under attack and after kill -9."""
    return run_command(["demo", *arguments])


def test_command(arguments: list[str]) -> int:
    """Check style, types and behaviour, also on other Pythons; `test quick` in a minute; `test --python 3.13`."""
    if arguments and arguments[0].startswith("--python"):
        return tool("tests.pythons", *arguments)
    if arguments[:1] == ["quick"]:
        return lint_command([]) | pytest_command(["--quick", *arguments[1:]])
    steps = {"lint": lint_command, "types": types_command, "pytest": pytest_command}
    steps["other Pythons"] = lambda arguments: 0 if arguments else tool("tests.pythons")
    failed, times = list[str](), list[str]()
    for name, step in steps.items():
        note(f"{name} ...")
        started = time.monotonic()
        failed += [name] if step([] if name in {"lint", "types"} else arguments) else []
        times.append(f"{name} {time.monotonic() - started:.0f} s")
    times += [f"unstable {len(UNSTABLE)}"] if UNSTABLE else []
    note(("FAILED: " + ", ".join(failed) if failed else "all passed") + f" ({', '.join(times)})")
    return 1 if failed else 0


def bench_command(arguments: list[str]) -> int:
    """Measure: `bench NAME` runs bench/bench_NAME.py, without a name each of them."""
    scripts = {path.stem[6:]: path for path in sorted((ROOT / "bench").glob("bench_*.py"))}
    chosen = list(scripts)
    if arguments and not arguments[0].startswith("-"):
        chosen, arguments = arguments[:1], arguments[1:]
        if chosen[0] not in scripts:
            raise Problem(f"no benchmark {chosen[0]!r}; there are: {', '.join(scripts)}")
    programs = [[str(PYTHON), str(scripts[name]), *arguments] for name in chosen]
    return max((subprocess.call(p, cwd=ROOT, env=environment()) for p in programs), default=0)


def proof(module: str, about: str) -> Callable[[list[str]], int]:
    """Make the command of a longer proof, which is a module of the tests."""

    def command(arguments: list[str]) -> int:
        return tool(module, *arguments)

    command.__doc__ = about
    return command


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo_command,
    "test": test_command,
    "bench": bench_command,
    "kill9": proof(
        "tests.e2e.kill9",
        "Kill both nodes 200 times (`kill9 transfer`: during 1 GB; `passphrase`; `backup`; `bot`).",
    ),
    "putback": proof("tests.e2e.put_back", "Put a home back from a copy, on either side."),
    "mutants": proof("tests.mutants", "Take out each guard of PROTOCOL.md: a test must notice."),
    "picture": proof("docs.picture", "Draw docs/session.svg for README.md, and the recording."),
    "chatpicture": proof(
        "docs.chat_picture", "Draw docs/chat.svg, the chat that docs/chat.md shows."
    ),
    "diagrams": proof("docs.diagrams", "Draw the diagrams of docs/architecture.md from the code."),
    "site": proof("docs.site", "Build the documents into build/site, a site without a network."),
    "man": proof("docs.man", "Write the manual pages into a folder (`install` does it too)."),
    "install": proof("wheels.install", "Install the command `peerpost` for you (`--to PREFIX`)."),
    "run": run_command,
    "lint": lint_command,
    "pytest": pytest_command,
    "types": types_command,
}


def usage() -> str:
    """Return the help page, made of the table of commands."""
    lines = [f"  {name:<12}{(c.__doc__ or '').splitlines()[0]}" for name, c in COMMANDS.items()]
    return "\n".join(["usage: python3 dev.py COMMAND [ARGUMENTS]", "", *lines])


def main(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(usage())
        return 0 if arguments else 2
    if arguments[0] not in COMMANDS:
        print(f"dev.py: no command {arguments[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    try:
        settle_interpreter()
        prepare(arguments[0])
        return COMMANDS[arguments[0]](arguments[1:])
    except Problem as problem:
        note(f"error: {problem}")
        return 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
