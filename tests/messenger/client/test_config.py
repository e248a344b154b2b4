"""The configuration: its default text, its overrides, and what each mistake says."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from peerpost.client.config import Config, load, read, settings
from peerpost.client.config_text import DEFAULT_TEXT
from peerpost.errors import ConfigError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_missing_file_is_the_default(tmp_path: Path) -> None:
    assert read(tmp_path / "config.toml", {}) == Config()
    assert not list(tmp_path.iterdir())


def test_first_load_writes_the_commented_default(tmp_path: Path) -> None:
    assert load(tmp_path, {}) == Config()
    path = tmp_path / "config.toml"
    assert path.read_text() == DEFAULT_TEXT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text('[log]\nlevel = "debug"\n')
    assert load(tmp_path, {}).log.level == "debug"


def test_default_text_shows_every_key_with_its_default(tmp_path: Path) -> None:
    text = re.sub(r"^# ([a-z_]+ = )", r"\1", DEFAULT_TEXT, flags=re.MULTILINE)
    assert read(written(tmp_path, text), {}) == Config()
    shown = set(re.findall(r"^([a-z_]+) = ", text, flags=re.MULTILINE))
    assert shown == {setting.key.partition(".")[2] for setting in settings(tmp_path / "x", {})}


def test_units_and_words(tmp_path: Path) -> None:
    text = '[node]\nidle_exit="1h30min"\n[storage]\naccept="ask"\nmin_free="1.5GB"\nballast=0\n'
    config = read(written(tmp_path, text), {})
    assert config.node.idle_exit == 5400
    assert config.storage.accept == "ask"
    assert config.storage.min_free == 1_500_000_000
    assert config.storage.ballast == 0


@pytest.mark.parametrize(
    ("name", "value", "section", "key", "expected"),
    [
        ("PEERPOST__LOG__LEVEL", "debug", "log", "level", "debug"),
        ("PEERPOST__NODE__IDLE_EXIT", "2s", "node", "idle_exit", 2),
        ("PEERPOST__NODE__IDLE_EXIT", "2.5", "node", "idle_exit", 2.5),
        ("PEERPOST__STORAGE__ACCEPT", "never", "storage", "accept", "never"),
        ("PEERPOST__STORAGE__ACCEPT", "1kB", "storage", "accept", 1000),
        ("PEERPOST__PADDING__BUCKETS", "[512, 65024]", "padding", "buckets", (512, 65024)),
        ("PEERPOST__PADDING__BUCKETS", "1KiB,65024", "padding", "buckets", (1024, 65024)),
        (
            "PEERPOST__NETWORK__LISTEN",
            "/ip4/127.0.0.1/tcp/0, /ip6/::1/tcp/0",
            "network",
            "listen",
            ("/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"),
        ),
    ],
)
def test_environment_wins(
    tmp_path: Path, name: str, value: str, section: str, key: str, expected: object
) -> None:
    path = written(tmp_path, '[log]\nlevel = "error"\n[node]\nidle_exit = 9\n')
    assert getattr(getattr(read(path, {name: value}), section), key) == expected
    origin = {s.key: s.origin for s in settings(path, {name: value})}
    assert origin[f"{section}.{key}"] == name


def test_origins(tmp_path: Path) -> None:
    path = written(tmp_path, '[log]\nlevel = "error"\n')
    origins = {s.key: s.origin for s in settings(path, {})}
    assert origins["log.level"] == "config.toml"
    assert origins["log.format"] == "default"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[nod]\n", r"config.toml: unknown section: 'nod'", "did you mean '[node]'?"),
        ("[node]\nidle_exti = 1\n", r"unknown key in \[node\]: 'idle_exti'", "'idle_exit'"),
        ("[zzzz]\n", "unknown section", "known: node, network"),
        ("[features]\nx = 1\n", "unknown key", "no keys yet"),
        ("[node\n", "not valid TOML", "quotes"),
        ("node = 3\n", r"write \[node\]", None),
        ("[log]\nlevel = 7\n", r"\[log\] level: expected a string, got a whole number", None),
        ('[log]\nlevel = "loud"\n', r"\[log\] level: there is no 'loud'", "debug, info"),
        ('[padding]\nmode = "fixed"\n', r"\[padding\] mode: there is no 'fixed'", "buckets, off"),
        ('[padding]\nmode = "padme"\n', r"\[padding\] mode: there is no 'padme'", "buckets, off"),
        ('[node]\nidle_exit = "soon"\n', "idle_exit: 'soon' is not a duration", None),
        ("[node]\nidle_exit = -1\n", r"\[node\] idle_exit", None),
        ("[node]\nidle_exit = true\n", r"\[node\] idle_exit", None),
        ('[storage]\naccept = "100M"\n', 'write MiB or MB, or "ask" or "never"', None),
        ('[storage]\naccept = ["ask"]\n', r"\[storage\] accept", None),
        ("[padding]\nbuckets = []\n", "buckets: 1 to 8", None),
        ('[hooks]\non_message = ["bin/x"]\n', "'bin/x' is no path from the top", "/usr/local"),
        ('[hooks]\non_message = ["~/x"]\n', "'~/x' is no path from the top", "/usr/local"),
        ('[hooks]\non_message = ["/x\\u0000"]\n', "no path from the top", None),
        ('[hooks]\non_message = "/usr/bin/x"\n', r"\[hooks\] on_message: expected a list", None),
        ('[hooks]\ntime_limit = "0s"\n', r"\[hooks\] time_limit", None),
        ("[padding]\nbuckets = [4096, 1024, 65024]\n", "larger than the one before", None),
        ("[padding]\nbuckets = [1024]\n", "the last 65024", "longest message"),
        ("[padding]\nbuckets = [100, 65024]\n", "from 256", None),
        ('[network]\nlisten = ["nonsense"]\n', r"\[network\] listen", None),
        (
            '[network]\nlisten = "/ip4/127.0.0.1/tcp/1"\n',
            r"\[network\] listen: expected a list",
            None,
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        read(written(tmp_path, text), {})
    assert raised.value.exit_code == 78
    if hint is not None:
        assert hint in str(raised.value.hint)


@pytest.mark.parametrize("name", ["PEERPOST__NOPE__X", "PEERPOST__LOG__LVEL", "PEERPOST__LOG"])
def test_unknown_variables_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        read(tmp_path / "config.toml", {name: "1"})


def test_not_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read(path, {})
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigError, match="larger than"):
        read(path, {})
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="cannot read"):
        read(path, {})
