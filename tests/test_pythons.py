"""The suite on other Pythons: which are claimed, which are found, and what is said of those that are not."""

from __future__ import annotations

import os
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from tests import pythons
from tests.support import dev_py

ROOT = Path(__file__).parents[1]
HERE = f"3.{sys.version_info.minor}"
posix = pytest.mark.skipif(os.name == "nt", reason="shell scripts stand in for programs")


def test_what_is_claimed_is_one_list() -> None:
    assert sorted(dev_py.load().VERSIONS) == sorted(pythons.claimed())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    first, last = pythons.claimed()[0], pythons.claimed()[-1]
    after = f"3.{int(last.removeprefix('3.')) + 1}"
    assert project["requires-python"] == f">={first},<{after}"


@pytest.mark.slow
@posix
def test_one_that_does_not_run_is_passed_over_for_one_of_pyenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    script(tmp_path / "shims" / f"python{HERE}", "echo 'no version is set' >&2; exit 127")
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert pythons.find(HERE) is None
    folder = tmp_path / "pyenv" / "versions" / f"{HERE}.1" / "bin"
    works = script(folder / f"python{HERE}", f'exec {shlex.quote(sys.executable)} "$@"')
    assert pythons.find(HERE) == works


@posix
def test_one_that_is_not_found_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    others = [version for version in pythons.claimed() if version != HERE]
    assert pythons.main([]) == 0
    said = capfd.readouterr().err.splitlines()
    assert said == [
        f"dev.py: Python {version} was not found here (PATH, pyenv): nothing was run on it"
        for version in others
    ]
    assert pythons.main(["--python", others[0]]) == 1
    assert f"error: Python {others[0]} was not found" in capfd.readouterr().err


def test_a_failure_on_any_of_them_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [version for version in pythons.claimed() if version != HERE]
    ran: list[str] = []

    def run_on(version: str, _python: Path, arguments: list[str]) -> int:
        assert arguments == list(pythons.QUICK)
        ran.append(version)
        return int(version == others[0])

    monkeypatch.setattr(pythons, "run_on", run_on)
    monkeypatch.setattr(pythons, "find", Path)
    assert pythons.main([]) == 1
    assert ran == others


def test_what_is_run_is_there() -> None:
    assert [name for name in pythons.QUICK if not (ROOT / name.partition("::")[0]).exists()] == []
