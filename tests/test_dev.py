"""dev.py: what the surroundings must not break, and that the package it installs is whole."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import dev_py

ROOT = Path(__file__).parents[1]
posix = pytest.mark.skipif(os.name == "nt", reason="shell scripts stand in for programs")


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = dev_py.load()
    monkeypatch.setattr(module, "WORK", tmp_path)
    return module


def script(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text + "\n", encoding="ascii")
    path.chmod(0o755)
    return str(path)


def test_settings_of_pip_that_would_move_the_installation_are_dropped(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = {
        "PIP_TARGET": "/nowhere",
        "PIP_PREFIX": "/nowhere",
        "PIP_NO_BINARY": ":all:",
        "PIP_CONSTRAINT": "/nowhere",
        "PYTHONPATH": "/nowhere",
        "PYTHONHOME": "/nowhere",
    }
    kept = {"PIP_INDEX_URL": "https://mirror.example/simple", "PIP_CERT": "/etc/ca", "CC": "gcc"}
    for name, value in {**dropped, **kept, "PIP_USER": "1"}.items():
        monkeypatch.setenv(name, value)
    env = dev.environment()
    assert not dropped.keys() & env.keys()
    assert kept.items() <= env.items()
    assert env["PIP_USER"] == "0"
    assert env["PATH"].split(os.pathsep)[0] == str(dev.BIN)


@pytest.mark.slow
@posix
def test_an_interpreter_that_exists_and_does_not_run_is_passed_over(
    dev: ModuleType, tmp_path: Path
) -> None:
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        script(tmp_path / "shims" / name, "echo 'no version is set' >&2; exit 127")
    script(tmp_path / "old" / "python3.12", "echo 3.8")
    works = script(tmp_path / "good" / "python3", f'exec "{sys.executable}" "$@"')
    path = os.pathsep.join(str(tmp_path / name) for name in ("shims", "old", "absent", "good"))
    assert dev.find_interpreter(path) == works
    assert dev.find_interpreter(str(tmp_path / "shims")) is None


@posix
def test_an_unsupported_version_is_told_what_to_install(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dev, "THIS_VERSION", "3.9")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(dev.Problem, match=r"3\.11, 3\.12 or 3\.13 and this is 3\.9.*apt install"):
        dev.settle_interpreter()


@pytest.mark.slow
@posix
def test_another_interpreter_takes_over_with_the_same_arguments(tmp_path: Path) -> None:
    other = script(
        tmp_path / "python3.11", 'case "$1" in -c) echo 3.11;; *) printf "%s\\n" "$@";; esac'
    )
    program = (
        "import runpy, sys; sys.argv = ['dev.py', 'run', 'a b']; sys.version_info = (3, 9, 0);"
        f"runpy.run_path({str(ROOT / 'dev.py')!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": str(Path(other).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [str(ROOT / "dev.py"), "run", "a b"]
    assert f"going on with {other}" in done.stderr


@pytest.mark.slow
@posix
@pytest.mark.parametrize("compiler", ["false", "true", "/nowhere/cc -O2"])
def test_what_does_not_compile_is_named(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, compiler: str
) -> None:
    monkeypatch.setenv("CC", compiler)
    assert dev.compiler_problem().startswith(f"{compiler!r} does not compile")


@pytest.mark.slow
@posix
def test_headers_that_are_missing_are_named(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A compiler that fails over Python.h alone.
    cc = 'for last; do :; done; if grep -q Python.h "$4"; then exit 1; fi; : > "$last"'
    monkeypatch.setenv("CC", script(tmp_path / "cc", cc))
    assert "no Python.h" in dev.compiler_problem()
    monkeypatch.setenv("CC", script(tmp_path / "cc", 'for last; do :; done; : > "$last"'))
    assert dev.compiler_problem() == ""


def test_any_change_of_a_source_is_seen(dev: ModuleType, tmp_path: Path) -> None:
    dev.ROOT = tmp_path
    source = tmp_path / "a.py"
    source.write_text("x", encoding="ascii")
    before = dev.digest(["CC="], [source])
    assert dev.digest(["CC="], [source]) == before
    assert dev.digest(["CC=clang"], [source]) != before
    source.write_text("y", encoding="ascii")
    assert dev.digest(["CC="], [source]) != before


def test_groups_include_groups(dev: ModuleType) -> None:
    groups = {"a": ["x", {"include-group": "b"}], "b": ["y"]}
    assert dev.group(groups, "a") == ["x", "y"]


def test_help_and_mistakes(dev: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["--help"]) == 0
    assert "demo" in capsys.readouterr().out
    assert dev.main([]) == 2
    assert dev.main(["tset"]) == 2
    assert "no command 'tset'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("folder", "name"),
    [("messenger", "peerpost"), ("cli", "peerpost.cli"), ("fastpath", "peerpost.fastpath")],
)
def test_the_installed_package_is_whole(folder: str, name: str) -> None:
    file = importlib.import_module(name).__file__
    assert file is not None
    wanted = [
        path.relative_to(ROOT / folder)
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".sql", ".md", ".typed"}
    ]
    assert [path for path in wanted if not (Path(file).parent / path).exists()] == []


ONCE = """
from pathlib import Path

def test_once():
    seen = Path(__file__).with_name("seen")
    was_seen = seen.exists()
    seen.touch()
    assert was_seen
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tests", "code", "said"),
    [
        (ONCE, 0, "UNSTABLE, passed alone"),
        (ONCE + "def test_always(): assert False", 1, "2 failed beside others"),
        (ONCE + "".join(f"def test_{n}(): assert False\n" for n in range(3)), 1, ""),
    ],
    ids=["unstable", "one fails again", "too many"],
)
def test_what_fails_beside_others_runs_once_more_alone(
    dev: ModuleType,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    tests: str,
    code: int,
    said: str,
) -> None:
    (tmp_path / "test_it.py").write_text(tests)
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "test_other.py").write_text("def test_passes(): pass")
    dev.ROOT, dev.PYTHON = tmp_path, sys.executable
    dev.LAST_FAILED = tmp_path / dev.LAST_FAILED.relative_to(ROOT)
    dev.LAST_FAILED.parent.mkdir(parents=True)
    dev.LAST_FAILED.write_text('{"test_gone.py::test_gone": true}')
    # A test that is named, in a file in which nothing fails: --last-failed would not find it.
    assert dev.pytest_command(["-n", "0", "test_it.py", "test_other.py::test_passes"]) == code
    out, err = capfd.readouterr()
    assert said in err
    assert ("once more, alone" in err) is bool(said)
    unstable = ["test_it.py::test_once"] if code == 0 else []
    assert unstable == dev.UNSTABLE
    assert out.count("FAILED test_it.py::test_always") == (2 if "always" in tests else 0)


def test_nothing_is_installed_that_is_in_no_source() -> None:
    """A build uses compiled modules again, and nothing else: a deleted migration would still run."""
    import peerpost

    def named(folder: Path) -> set[str]:
        return {path.name for path in folder.rglob("*.sql")}

    assert named(Path(peerpost.__file__).parent) == named(ROOT / "messenger")
