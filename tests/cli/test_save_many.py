"""`inbox save` under names of their own: nothing is overwritten, and a message goes only once it is surely kept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.rpc import Request
from peerpost.errors import NotFoundError, StorageError
from tests.support.archives import file, folder, packed

from .conftest import FakeNode, Shell

PACKED = packed(folder("photos"), file("photos/one", b"1"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Inbox:
    """Messages by id, with what they are and hold."""

    def __init__(self, node: FakeNode, *, damaged: str = "") -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.damaged = damaged
        self.at_delete: list[tuple[str, list[str]]] = []
        self.watched: Path | None = None
        self.add("aa1", "a.pdf")
        self.add("aa2", "a.pdf")
        self.add("bb3", None, kind="text")
        self.add("cc4", "photos", directory=True)
        self.add("dd5", "../../evil\n.sh")
        node.answers |= {
            "inbox.peek": self.peek,
            "inbox.save": self.save,
            "inbox.list": self.list,
            "inbox.delete": self.delete,
        }

    def add(self, id_: str, name: str | None, **more: Any) -> None:
        row = {"id": id_, "name": name, "kind": "file", "directory": False, "cursor": id_}
        self.rows[id_] = row | more

    def find(self, prefix: str) -> Any:
        found = [row for id_, row in self.rows.items() if id_.startswith(prefix)]
        return found[0] if len(found) == 1 else NotFoundError(f"there is no message {prefix}")

    def peek(self, request: Request) -> Any:
        return self.find(request.params["id"])

    def list(self, request: Request) -> Any:
        rows = list(self.rows.values())[::-1]
        after = request.params.get("after")
        at = 0 if after is None else 1 + [row["id"] for row in rows].index(after)
        return rows[at : at + request.params["limit"]]

    def save(self, request: Request) -> Any:
        row = self.find(request.params["id"])
        if not isinstance(row, dict):
            return row
        os.write(request.fd(0), PACKED if row["directory"] else row["id"].encode())
        if row["id"] == self.damaged:
            return StorageError("chunk 7 of the stored file is damaged")
        return {"id": row["id"], "name": row["name"], "size": 3}

    def delete(self, request: Request) -> Any:
        (id_,) = request.params["ids"]
        if self.watched is not None:
            self.at_delete.append((id_, names(self.watched)))
        del self.rows[id_]
        return [{"id": id_}]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def there(work: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(work)): path.read_bytes() for path in work.rglob("*") if path.is_file()
    }


def test_without_out_it_takes_its_own_name_and_overwrites_nothing(
    node: FakeNode, shell: Shell, work: Path
) -> None:
    Inbox(node)
    for id_, path in (
        ("aa1", "a.pdf"), ("aa1", "a (1).pdf"), ("aa2", "a (2).pdf"), ("bb", "bb3.txt"),
        ("cc", "photos"), ("cc", "photos (1)"), ("dd", "evil_.sh"),
    ):  # fmt: skip
        ran = shell("inbox", "save", id_, "--json")
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["path"] == path
    assert there(work) == {
        "a.pdf": b"aa1", "a (1).pdf": b"aa1", "a (2).pdf": b"aa2", "bb3.txt": b"bb3",
        "photos/one": b"1", "photos (1)/one": b"1", "evil_.sh": b"dd5",
    }  # fmt: skip
    assert shell("inbox", "save", "aa1", "--force").code == 2


def test_what_has_the_name_stays_whatever_it_is(node: FakeNode, shell: Shell, work: Path) -> None:
    Inbox(node)
    (work / "a.pdf").mkdir()
    (work / "a (1).pdf").symlink_to(work / "nowhere")
    os.mkfifo(work / "a (2).pdf")
    assert shell("inbox", "save", "aa1").code == 0
    assert (work / "a (3).pdf").read_bytes() == b"aa1"
    assert not (work / "nowhere").exists()


def test_a_name_that_is_taken_meanwhile(node: FakeNode, shell: Shell, work: Path) -> None:
    inbox = Inbox(node)
    (work / "cc").touch()

    def save(request: Request) -> Any:
        (work / "a.pdf").write_text("came first")
        return inbox.save(request)

    node.answers["inbox.save"] = save
    assert shell("inbox", "save", "aa1").code == 0
    assert there(work) == {"cc": b"", "a.pdf": b"came first", "a (1).pdf": b"aa1"}


def test_into_a_folder(node: FakeNode, shell: Shell, work: Path) -> None:
    Inbox(node)
    assert shell("inbox", "save", "aa1", "--out", "new/").code == 0
    assert shell("inbox", "save", "aa2", "--out", "new").code == 0
    assert shell("inbox", "save", "cc", "--out", "new/").code == 0
    ran = shell("inbox", "save", "aa1", "bb", "aa1", "--out", "two", "--json")
    assert [json.loads(line)["path"] for line in ran.out.splitlines()] == [
        "two/a.pdf",
        "two/bb3.txt",
    ]
    assert there(work) == {
        "new/a.pdf": b"aa1",
        "new/a (1).pdf": b"aa2",
        "new/photos/one": b"1",
        "two/a.pdf": b"aa1",
        "two/bb3.txt": b"bb3",
    }
    (work / "file").touch()
    for out in ("file/", "no/such/"):
        ran = shell("inbox", "save", "aa1", "--out", out)
        assert ran.code == 73, ran.err
    # What is in a folder still comes to lie in the folder that is named.
    assert shell("inbox", "save", "cc", "--out", "mine").code == 0
    assert (work / "mine" / "one").read_bytes() == b"1"


@pytest.mark.slow
def test_what_goes_into_a_device_is_not_moved(node: FakeNode, shell: Shell, work: Path) -> None:
    Inbox(node)
    os.mkfifo(work / "fifo")
    reader = os.open(work / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    for out in ("/dev/null", "fifo"):
        assert shell("inbox", "save", "aa1", "--out", out, "--move").code == 2
    os.close(reader)
    # Nobody reads it now: opening it would wait for ever.
    done = shell.process("inbox", "save", "aa1", "--out", str(work / "fifo"), "--move")
    assert (done.returncode, b"--move goes with a file" in done.stderr) == (2, True)
    assert not [method for method, _ in node.asked if method in ("inbox.save", "inbox.delete")]


def test_all_of_them_oldest_first(
    node: FakeNode, shell: Shell, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peerpost.cli.saving.PAGE_ROWS", 2)
    Inbox(node).add("ee6", None, kind="unknown")
    ran = shell("inbox", "save", "--all", "--unread", "--contact", "bob", "--out", "in/", "--json")
    assert ran.code == 0, ran.err
    assert [json.loads(line)["id"] for line in ran.out.splitlines()] == [
        *("aa1", "aa2", "bb3", "cc4", "dd5"),
    ]
    assert "ee6 is of a kind of a later version" in ran.err
    asked = [params for method, params in node.asked if method == "inbox.list"]
    assert {(params["contact"], params["unread"]) for params in asked} == {("bob", True)}
    assert names(work / "in") == [
        *("a (1).pdf", "a.pdf", "bb3.txt", "evil_.sh", "photos"),
    ]
    assert shell("inbox", "save", "--all", "--files", "--out", "files/").code == 0
    assert names(work / "files") == ["a (1).pdf", "a.pdf", "evil_.sh", "photos"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("aa1", "--all"),
        ("aa1", "--unread"),
        ("aa1", "--contact", "bob"),
        ("aa1", "aa2", "--out", "-"),
        ("aa1", "--out", "-", "--move"),
        ("--all", "--out", "-"),
        ("--all", "--force"),
    ],
)
def test_what_does_not_go_together(
    node: FakeNode, shell: Shell, work: Path, arguments: tuple[str, ...]
) -> None:
    Inbox(node)
    assert shell("inbox", "save", *arguments).code == 2
    assert {method for method, _ in node.asked} <= {"inbox.peek", "inbox.list"}
    assert there(work) == {}


def test_of_ids_all_are_saved_or_none(node: FakeNode, shell: Shell, work: Path) -> None:
    Inbox(node)
    assert shell("inbox", "save", "aa1", "zz", "bb").code == 67
    assert there(work) == {}


def test_what_fails_keeps_the_others_from_nothing_and_is_not_moved(
    node: FakeNode, shell: Shell, work: Path
) -> None:
    inbox = Inbox(node, damaged="aa2")
    ran = shell("inbox", "save", "--all", "--move")
    assert ran.code == 74
    assert "chunk 7" in ran.err
    assert list(inbox.rows) == ["aa2"]
    assert sorted(there(work)) == ["a.pdf", "bb3.txt", "evil_.sh", "photos/one"]


def test_a_message_goes_once_it_is_durable_under_its_name(
    node: FakeNode, shell: Shell, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, flushed, fsync = Inbox(node), [], os.fsync
    inbox.watched = work

    def noted(fd: int) -> None:
        fsync(fd)
        flushed.append((os.fstat(fd).st_ino, names(work)))

    monkeypatch.setattr("os.fsync", noted)
    ran = shell("inbox", "save", "aa1", "cc", "--move", "--json")
    assert ran.code == 0, ran.err
    assert [json.loads(line)["moved"] for line in ran.out.splitlines()] == [True, True]
    assert inbox.at_delete == [("aa1", ["a.pdf"]), ("cc4", ["a.pdf", "photos"])]
    here = work.stat().st_ino
    for listed in (["a.pdf"], ["a.pdf", "photos"]):
        assert (here, listed) in flushed
    for path in (work / "a.pdf", work / "photos", work / "photos" / "one"):
        assert path.stat().st_ino in {inode for inode, _ in flushed}


def test_a_message_whose_name_cannot_be_flushed_stays(
    node: FakeNode, shell: Shell, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, fsync_dir = Inbox(node), []

    def refused(folder: Path) -> None:
        fsync_dir.append(folder)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("peerpost.system.fsync_dir", refused)
    ran = shell("inbox", "save", "aa1", "--move")
    assert ran.code == 74
    assert "the message stays" in ran.err
    assert "aa1" in inbox.rows
    assert fsync_dir
    assert there(work) == {"a.pdf": b"aa1"}
    # Who only saves has it.
    assert shell("inbox", "save", "aa2").code == 0
