"""`config set` on all kinds of files: nothing else in them changes, and what is wrong is not written."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path

import pytest

from peerpost.client import config_edit
from peerpost.client.config import keys, read, settings
from peerpost.client.config_text import DEFAULT_TEXT
from peerpost.errors import ConfigError, LockedError, PeerpostError, UsageError

VALUES: dict[str, tuple[str, ...]] = {
    "node.idle_exit": ("10min",),
    "network.listen": ("/ip4/127.0.0.1/tcp/4001", "/ip6/::1/tcp/4001"),
    "network.announce": ("/dns4/example.org/tcp/4001",),
    "storage.accept": ("ask",),
    "storage.spool_below": ("1MiB",),
    "storage.min_free": ("0",),
    "storage.quota": ("1GiB",),
    "storage.ballast": ("64KiB",),
    "storage.keep_for": ("90d",),
    "storage.keep_size": ("50GiB",),
    "storage.keep_count": ("10000",),
    "storage.keep_of": ("nas for=30d size=10GiB", "bob for=off"),
    "storage.keep_unread": ("false",),
    "storage.downloads": ("~/Downloads/peerpost",),
    "security.lock_after": ("30min",),
    "security.kdf_memory": ("128MiB",),
    "padding.mode": ("off",),
    "padding.buckets": ("2048", "65024"),
    "limits.schedule": ("mon-fri 08:00-18:00 up=1MB/s",),
    "hooks.on_message": ("/bin/program", "5", 'a "quoted" one'),
    "hooks.time_limit": ("1h",),
    "log.level": ("info,peerpost.node=debug",),
    "log.format": ("json",),
    "log.size": ("1MiB",),
    "log.kept": ("9",),
}


def text(home: Path) -> str:
    return (home / "config.toml").read_text()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def origin(home: Path, key: str) -> str:
    return next(one.origin for one in settings(home / "config.toml", {}) if one.key == key)


@pytest.mark.parametrize("key", keys())
def test_each_key_is_set_below_its_comment_and_taken_out_again(tmp_path: Path, key: str) -> None:
    home = tmp_path / "home"
    if key not in VALUES:
        pytest.fail(f"give {key} a value in this test")
    assert config_edit.set_(home, key, VALUES[key]).changed
    assert origin(home, key) == "config.toml"
    lines = text(home).splitlines()
    (place,) = [n for n, line in enumerate(lines) if line not in DEFAULT_TEXT.splitlines()]
    assert lines[place - 1].startswith(f"# {key.partition('.')[2]} =")
    assert not config_edit.set_(home, key, VALUES[key]).changed
    assert config_edit.unset(home, key).changed
    assert text(home) == DEFAULT_TEXT
    assert not config_edit.unset(home, key).changed
    assert stat.S_IMODE((home / "config.toml").stat().st_mode) == 0o600


def test_every_key_at_once(tmp_path: Path) -> None:
    for key, values in VALUES.items():
        config_edit.set_(tmp_path, key, values)
    assert {origin(tmp_path, key) for key in VALUES} == {"config.toml"}
    assert [line for line in text(tmp_path).splitlines() if line.startswith("#")] == [
        line for line in DEFAULT_TEXT.splitlines() if line.startswith("#")
    ]
    assert read(tmp_path / "config.toml", {}).hooks.on_message == VALUES["hooks.on_message"]


@pytest.mark.parametrize(
    "before",
    [
        "",
        "# only a comment, without a line end",
        '[log]\nlevel = "info" # why\n# the last line',
        'log.level = "info"\nlog.kept = 3 # x\n',
        'log = {level = "info", kept = 3}\n',
        '[log]\r\n# level = "info"\r\nkept = 3\r\n',
        '["log"]\nkept = 3\n[storage]\n# level = "info"\n',
        '[storage]\nkeep_of = [\n  "a for=off", # a comment\n]\n[log]\n"kept" = 3\n',
        '[limits]\nschedule = ["""\\\n08:00-09:00 up=1\\\n"""]\n[ log ]\n',
        "[log]\n# level = 1\n# level = 2\n\n\n[metrics]\n",
    ],
)
def test_nothing_else_changes(tmp_path: Path, before: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(before.encode())
    config_edit.set_(tmp_path, "log.level", ["debug"])
    after = path.read_bytes().decode()
    wanted = tomllib.loads(before)
    wanted.setdefault("log", {})["level"] = "debug"
    assert tomllib.loads(after) == wanted
    for part in before.split("\n"):
        if "#" in part:
            assert part[part.index("#") :].strip() in after
    config_edit.unset(tmp_path, "log.level")
    assert "level" not in tomllib.loads(path.read_text()).get("log", {})


@pytest.mark.parametrize(
    ("key", "values", "named"),
    [
        ("log.levle", ["debug"], "did you mean 'log.level'"),
        ("level", ["debug"], "did you mean 'log.level'"),
        ("storage.acept", ["1"], "did you mean 'storage.accept'"),
        ("storage", ["1"], "of \\[storage\\]: storage.accept"),
        ("", ["1"], "config show"),
        ("zzz.qqq", ["1"], "config show"),
        ("log.level", ["loud"], "no 'loud'"),
        ("log.kept", ["many"], "whole number"),
        ("log.kept", ["-1"], "kept"),
        ("storage.accept", ["lots"], "accept"),
        ("padding.buckets", ["1", "2"], "buckets"),
        ("network.listen", ["nonsense"], "listen"),
        ("hooks.on_message", ["relative"], "no path from the top"),
        ("security.kdf_memory", ["1MiB"], "kdf_memory"),
    ],
)
def test_what_is_wrong_is_named_and_not_written(
    tmp_path: Path, key: str, values: list[str], named: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[log]\nkept = 4\n")
    with pytest.raises(ConfigError) as caught:
        config_edit.set_(tmp_path, key, values)
    assert re.search(named, f"{caught.value.message} {caught.value.hint}")
    assert path.read_text() == "[log]\nkept = 4\n"


def test_a_key_with_one_value_takes_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        config_edit.set_(tmp_path, "log.level", ["info", "debug"])
    assert not (tmp_path / "config.toml").exists()


def test_a_mistake_can_be_mended_by_it_and_another_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[log]\nlevel = "loud"\nlevle = "x"\n')
    with pytest.raises(ConfigError, match=r"levle.*nothing was written"):
        config_edit.set_(tmp_path, "log.level", ["info"])
    with pytest.raises(ConfigError, match=r"loud.*nothing was written"):
        config_edit.unset(tmp_path, "log.levle")
    path.write_text('[log]\nlevel = "loud"\n')
    config_edit.set_(tmp_path, "log.level", ["info"])
    path.write_text("[log]\nlevle = 'x'\n")
    config_edit.unset(tmp_path, "log.levle")
    path.write_text("[log\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        config_edit.set_(tmp_path, "log.level", ["info"])
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        config_edit.unset(tmp_path, "log.level")


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640])
def test_the_rights_stay(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "config.toml"
    path.touch()
    path.chmod(mode)
    config_edit.set_(tmp_path, "log.level", ["debug"])
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_one_that_is_read_only_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.touch()
    path.chmod(0o400)
    with pytest.raises(LockedError, match="read-only"):
        config_edit.set_(tmp_path, "log.level", ["debug"])
    assert path.read_text() == ""


def test_a_link_stays_one_and_its_file_is_changed(tmp_path: Path) -> None:
    home, dotfiles = tmp_path / "home", tmp_path / "dotfiles"
    home.mkdir(0o700)
    dotfiles.mkdir()
    (home / "config.toml").symlink_to(Path("..", "dotfiles", "peerpost.toml"))
    for _ in range(2):
        # At first there is nothing behind it.
        config_edit.set_(home, "log.level", ["debug"])
        assert (home / "config.toml").is_symlink()
        assert 'level = "debug"' in (dotfiles / "peerpost.toml").read_text()
        config_edit.unset(home, "log.level")
    assert names(home) == ["config.lock", "config.toml"]
    assert names(dotfiles) == ["peerpost.toml"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "loop", "nowhere"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    home = tmp_path / "home"
    home.mkdir(0o700)
    path = home / "config.toml"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/null")
        case "loop":
            path.symlink_to(path)
        case _:
            path.symlink_to(tmp_path / "no" / "folder" / "x")
    with pytest.raises(PeerpostError):
        config_edit.set_(home, "log.level", ["debug"])
    assert names(home) == ["config.lock", "config.toml"]


def test_an_editor_that_saves_meanwhile_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[log]\nkept = 4\n")
    read_it, looks = config_edit.configuration.text_of, 0

    def text_of(there: Path) -> str | None:
        nonlocal looks
        looks += 1
        if looks == 2:
            path.write_text("[log]\nkept = 4\n# noted\n")
        return read_it(there)

    monkeypatch.setattr(config_edit.configuration, "text_of", text_of)
    config_edit.set_(tmp_path, "log.level", ["debug"])
    assert "# noted" in path.read_text()
    assert 'level = "debug"' in path.read_text()
