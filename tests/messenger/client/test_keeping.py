"""What the configuration says of keeping: read whole, or refused with what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerpost.client.config import Config, read
from peerpost.client.keeping import Keep, parse
from peerpost.errors import ConfigError


def written(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(f"[storage]\n{text}\n")
    return read(path, {})


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("nas for=90d", Keep(age_s=90 * 86400)),
        ("nas size=1KiB count=3", Keep(size_bytes=1024, count=3)),
        ("  nas   for=1h  size=off ", Keep(age_s=3600)),
        ("nas for=off", Keep()),
    ],
)
def test_a_line(text: str, keep: Keep) -> None:
    assert parse(text) == ("nas", keep)
    assert keep.limits == (keep != Keep())


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "nas",
            "nas 90d",
            "nas for=",
            "nas for=soon",
            "nas for=0s",
            "nas size=0",
            "nas size=x",
        ),
        *("nas count=0", "nas count=-1", "nas count=1.5", "nas count=٣", "nas age=1d"),
        *("nas for=1d for=2d", "nas for=off for=off", "nas count=" + "9" * 30),
    ],
)
def test_a_line_that_is_wrong(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse(text)
    with pytest.raises(ConfigError, match=r"\[storage\] keep_of"):
        written(tmp_path, f'keep_of = ["{text}"]')


def test_a_folder_of_downloads(tmp_path: Path) -> None:
    assert Config().storage.downloads == "off"
    for right in ("/var/x", "~/x", "off"):
        assert written(tmp_path, f'downloads = "{right}"').storage.downloads == right
    for wrong in ("", "x", "./x", "Off", "~no-such-user-here/x", "/a\\u0000b"):
        with pytest.raises(ConfigError, match="downloads"):
            written(tmp_path, f'downloads = "{wrong}"')
    with pytest.raises(ConfigError, match="downloads"):
        written(tmp_path, "downloads = false")


def test_off_by_default_and_never_nothing(tmp_path: Path) -> None:
    storage = Config().storage
    assert (storage.keep_for, storage.keep_size, storage.keep_count) == ("off", "off", "off")
    assert storage.keep_of == ()
    assert storage.keep_unread
    storage = written(tmp_path, 'keep_for = "90d"\nkeep_size = "1GiB"\nkeep_count = 5').storage
    assert (storage.keep_for, storage.keep_size, storage.keep_count) == (90 * 86400, 1 << 30, 5)
    for wrong in (
        *('keep_for = "0s"', "keep_for = -1", 'keep_size = "0"', "keep_count = 0"),
        *('keep_count = "many"', 'keep_for = "soon"', 'keep_unread = "no"'),
        'keep_of = ["nas for=1d", "nas size=1GiB"]',
    ):
        with pytest.raises(ConfigError, match="keep_"):
            written(tmp_path, wrong)
