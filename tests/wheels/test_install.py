"""`dev.py install`: what becomes of the link and of what was installed before; programs stand in for venv and pip."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from wheels.install import InstallError, install, is_on_path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="shell scripts stand in for programs")

VENV = """#!/bin/sh
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho peerpost\\n' > "$3/bin/peerpost"
printf '#!/bin/sh\\necho "$@" > %%s/asked\\nexit %s\\n' "$3" > "$3/bin/python"
chmod +x "$3/bin/peerpost" "$3/bin/python"
"""


class Installed:
    """A prefix."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.prefix = folder / "prefix"
        self.command = self.prefix / "bin" / "peerpost"

    def install(self, *extras: str, pip_exits: int = 0) -> Path:
        python = self._folder / "python"
        python.write_text(VENV % pip_exits, encoding="ascii")
        python.chmod(0o755)
        env = dict(os.environ)
        return install(str(python), env, self._folder / "x.whl", self._folder, self.prefix, extras)

    def environments(self) -> set[Path]:
        return set((self.prefix / "lib" / "peerpost").iterdir())


@pytest.fixture
def here(tmp_path: Path) -> Installed:
    return Installed(tmp_path)


def test_the_link_leads_to_the_newest_and_the_one_before_stays(here: Installed) -> None:
    targets = []
    for count in (1, 2, 2):
        assert here.install() == here.command
        targets.append(here.command.readlink().parent.parent)
        assert len(here.environments()) == count
        assert set(targets[-2:]) == here.environments()
    assert len(set(targets)) == 3
    assert stat.S_IMODE(targets[-1].stat().st_mode) == 0o755


def test_what_fails_changes_nothing(here: Installed) -> None:
    here.install()
    before = here.command.readlink(), here.environments()
    with pytest.raises(InstallError, match="pip"):
        here.install(pip_exits=1)
    assert (here.command.readlink(), here.environments()) == before
    assert [path.name for path in here.command.parent.iterdir()] == ["peerpost"]


@pytest.mark.parametrize("link", [True, False])
def test_a_command_of_somebody_else_is_left_alone(here: Installed, link: bool) -> None:
    here.command.parent.mkdir(parents=True)
    if link:
        here.command.symlink_to("/opt/peerpost/bin/peerpost")
    else:
        here.command.write_text("mine")
    with pytest.raises(InstallError, match="was not installed by this"):
        here.install()
    assert here.command.is_symlink() == link
    assert not (here.prefix / "lib").exists()


def test_whether_a_shell_finds_it(here: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    command = here.install()
    monkeypatch.setenv("PATH", os.defpath)
    assert not is_on_path(command)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.defpath}")
    assert is_on_path(command)


def test_an_update_has_what_was_asked_for_before(here: Installed) -> None:
    def asked() -> str:
        return (
            (here.command.readlink().parents[1] / "asked").read_text(encoding="ascii").split()[-1]
        )

    here.install()
    assert asked().endswith("x.whl")
    here.install("tui")
    assert asked().endswith("x.whl[tui]")
    here.install("mcp")
    assert asked().endswith("x.whl[mcp,tui]")
    here.install()
    assert asked().endswith("x.whl[mcp,tui]")
