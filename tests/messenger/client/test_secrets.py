"""The sources of a passphrase: their order, what is refused, and what nobody gets to see."""

from __future__ import annotations

import os
import pty
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from peerpost.client.secrets import VARIABLE, Secrets, take_variable
from peerpost.errors import BadInputError, LockedError, NoInputError, UsageError


def piped(data: bytes) -> int:
    reads, writes = os.pipe()
    os.write(writes, data)
    os.close(writes)
    return reads


def kept(folder: Path, data: bytes, mode: int = 0o600) -> str:
    path = folder / "passphrase"
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


def test_the_first_source_that_has_one_counts(tmp_path: Path) -> None:
    file = kept(tmp_path, b"from the file\n")
    asked: list[str] = []

    def source(name: str) -> str:
        asked.append(name)
        return f"from the {name}"

    def found(**given: object) -> bytes | None:
        return Secrets(**given).find(  # type: ignore[arg-type]
            keyring=lambda: source("keyring"), prompt=lambda: source("prompt")
        )

    fd = piped(b"from the descriptor\n")
    assert found(fd=fd, file=file, variable="from the variable") == b"from the descriptor"
    assert found(file=file, variable="from the variable") == b"from the file"
    assert asked == [], "a source that is not needed is left alone"
    assert found(variable="from the variable") == b"from the keyring"
    assert Secrets(variable="from the variable").find(prompt=lambda: "no") == b"from the variable"
    assert Secrets().find(keyring=lambda: None, prompt=lambda: "typed") == b"typed"
    assert Secrets().find(keyring=lambda: None, prompt=lambda: None) is None
    assert Secrets().find() is None


def test_one_line_end_is_taken_off_and_the_form_is_nfc(tmp_path: Path) -> None:
    for data, wanted in [
        (b"secret", b"secret"),
        (b"secret\n", b"secret"),
        (b"secret\r\n", b"secret"),
        (b"secret\n\n", b"secret\n"),
        (b" secret \n", b" secret "),
        (unicodedata.normalize("NFD", "geh\u00e4use").encode(), "geh\u00e4use".encode()),
    ]:
        assert Secrets(file=kept(tmp_path, data)).find() == wanted
        assert Secrets(fd=piped(data)).find() == wanted


@pytest.mark.parametrize("data", [b"", b"\n", b"\xff\xfe", b"x" * 1025, b"x" * 100_000])
def test_what_is_no_passphrase_is_said_with_its_source(tmp_path: Path, data: bytes) -> None:
    path = kept(tmp_path, data)
    with pytest.raises(BadInputError, match=path):
        Secrets(file=path, variable="another").find()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(LockedError, match="others may read"):
        Secrets(file=kept(tmp_path, b"secret", mode)).find()


def test_a_file_that_may_only_be_read_is_taken(tmp_path: Path) -> None:
    assert Secrets(file=kept(tmp_path, b"secret", 0o400)).find() == b"secret"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder as systemd makes it for a service: everybody comes as far as there, which pytest's folders forbid."""
    with TemporaryDirectory() as made:
        folder = Path(made) / "peerpost-node.service"
        folder.mkdir()
        Path(made).chmod(0o755)
        folder.chmod(0o750)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
        yield folder


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600])
def test_a_credential_of_systemd_is_taken(
    credentials: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    path = kept(credentials, b"secret\n", mode)
    assert Secrets(file=path).find() == b"secret"
    assert Secrets(file=f"{credentials}//passphrase").find() == b"secret"
    monkeypatch.chdir(credentials)
    assert Secrets(file="passphrase").find() == b"secret"


@pytest.mark.parametrize("mode", [0o444, 0o404, 0o460, 0o666])
def test_a_credential_that_everybody_may_read_or_others_may_write_is_refused(
    credentials: Path, mode: int
) -> None:
    with pytest.raises(LockedError, match="others may read"):
        Secrets(file=kept(credentials, b"secret", mode)).find()


def test_only_what_lies_directly_in_the_folder_of_credentials_is_one(
    credentials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = credentials / "below"
    below.mkdir()
    elsewhere = kept(tmp_path, b"secret", 0o440)
    for path in (
        kept(below, b"secret", 0o440),
        elsewhere,
        f"{credentials}/../../{elsewhere.lstrip('/')}",
    ):
        with pytest.raises((LockedError, NoInputError)):
            Secrets(file=path).find()
    (credentials / "link").symlink_to(elsewhere)
    with pytest.raises(LockedError, match="plain file"):
        Secrets(file=str(credentials / "link")).find()
    path = kept(credentials, b"secret", 0o440)
    for named in ("", ".", "peerpost-node.service", "/nowhere", str(tmp_path)):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", named)
        with pytest.raises(LockedError, match="others may read"):
            Secrets(file=path).find()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    credentials.chmod(0o770)
    with pytest.raises(LockedError, match="others may read"):
        Secrets(file=path).find()


@pytest.mark.skipif(os.geteuid() != 0, reason="it gives a file of root's to another user")
def test_a_credential_may_be_roots_and_then_its_group_is_not_looked_at(
    credentials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kept(credentials, b"secret\n", 0o440)
    os.chown(path, 0, 65534)
    os.chown(credentials, 0, 65534)
    somebodys = credentials / "somebodys"
    somebodys.write_bytes(b"secret\n")
    somebodys.chmod(0o440)
    os.chown(somebodys, 12345, 65534)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        assert Secrets(file=path).find() == b"secret"
        with pytest.raises(LockedError, match="another user") as refused:
            Secrets(file=str(somebodys)).find()
        assert "--passphrase-fd" in str(refused.value.hint), "chmod is not for us to do"
        monkeypatch.delenv("CREDENTIALS_DIRECTORY")
        with pytest.raises(LockedError, match="another user"):
            Secrets(file=path).find()
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_what_is_no_plain_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(kept(tmp_path, b"secret"))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for path in (link, fifo, tmp_path, Path("/dev/null"), Path("/dev/zero")):
        with pytest.raises(LockedError, match="plain file"):
            Secrets(file=str(path)).find()
    for missing in (str(tmp_path / "nothing"), "", "a\0b"):
        with pytest.raises(NoInputError):
            Secrets(file=missing).find()


def test_a_descriptor_that_is_not_open_and_one_without_an_end() -> None:
    with pytest.raises(NoInputError):
        Secrets(fd=987).find()
    with Path("/dev/zero").open("rb") as zero, pytest.raises(BadInputError, match="at most 1024"):
        Secrets(fd=zero.fileno()).find()


def test_a_terminal_would_show_it() -> None:
    ours, theirs = pty.openpty()
    try:
        with pytest.raises(UsageError, match="would show"):
            Secrets(fd=theirs).find()
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_variable_is_taken_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "secret")
    assert take_variable() == "secret"
    assert VARIABLE not in os.environ
    assert take_variable() is None
    monkeypatch.setenv(VARIABLE, "")
    assert take_variable() is None, "an empty one counts as not set"
