"""Each command: what it asks of the node, and what it prints of the answer."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from peerpost.system import processes

from .conftest import ENTRY, FakeNode, Shell

# identity


def test_identity_new(node: FakeNode, shell: Shell) -> None:
    made = {"id": "ab", "name": "alice", "fingerprint": "F", "addresses": ["/ip4/192.0.2.7"]}
    node.answers["identity.new"] = made
    ran = shell("identity", "new", "--name", "alice", "--no-passphrase")
    assert node.params == {"name": "alice", "protect": "none"}
    assert ran.out.splitlines() == [
        "name         alice",
        "fingerprint  F",
        "addresses    /ip4/192.0.2.7",
        f"home         {node.home}",
    ]
    assert "passphrase" in ran.err.splitlines()[-2], "what matters most stands last"
    assert json.loads(shell("identity", "new", "--no-passphrase", "--json").out) == made
    assert "contacts invite NAME" in ran.err
    assert "contacts add NAME TICKET" in ran.err
    shell("identity", "new", "--no-passphrase")
    assert node.params["name"]


def test_identity_new_asks_on_a_terminal(
    node: FakeNode, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.answers["identity.new"] = {"id": "ab", "name": "alice"}
    (node.home / "keyfile").unlink()
    monkeypatch.setattr("peerpost.cli.terminal.Terminal.can_ask", lambda _: True)
    entered = iter(
        ["hunter2", "green tin lamp over water", "another", *["sad old kite by moon"] * 2]
    )
    monkeypatch.setattr("getpass.getpass", lambda *_, **__: next(entered))
    ran = shell("identity", "new")
    assert ran.code == 0
    assert "weak (" in ran.err
    assert "not the same" in ran.err
    assert node.params == {
        "name": node.params["name"],
        "protect": "passphrase",
        "passphrase": "sad old kite by moon",
        "recovery": True,
    }


def test_identity_new_offers_six_words_and_wants_them_entered(
    node: FakeNode, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.answers["identity.new"] = {"id": "ab", "name": "alice", "recovery_code": "AAAA-BBBB"}
    (node.home / "keyfile").unlink()
    monkeypatch.setattr("peerpost.cli.terminal.Terminal.can_ask", lambda _: True)
    monkeypatch.setattr("peerpost.cli.strength.six_words", lambda: "one two six")
    entered = iter(["", "one two six"])
    monkeypatch.setattr("getpass.getpass", lambda *_, **__: next(entered))
    monkeypatch.setattr("peerpost.cli.strength._WEAK_GUESSES_LOG10", 1.0)
    ran = shell("identity", "new")
    assert ran.code == 0
    assert "    one two six" in ran.err
    assert node.params["passphrase"] == "one two six"
    assert "recovery code  AAAA-BBBB" in ran.out


@pytest.mark.parametrize(
    "given",
    [
        ["--passphrase", "c4n4ry"],
        ["--passphrase=c4n4ry"],
        ["c4n4ry"],
        ["--passphrase-fd", "c4n4ry"],
        ["--", "c4n4ry"],
        ["--passphrase-file", "f", "c4n4ry"],
        ["--passphrase-stdin", "c4n4ry"],
        ["--passphrase-stdin=c4n4ry"],
        ["-pc4n4ry"],
    ],
)
@pytest.mark.parametrize(
    "command", [["identity", "new"], ["identity", "unlock"], ["node", "start"], ["node", "run"]]
)
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_passphrase_among_the_arguments_is_refused_and_not_repeated(
    node: FakeNode, shell: Shell, command: list[str], given: list[str], as_json: list[str]
) -> None:
    ran = shell(*command, *given, *as_json)
    assert ran.code == 2
    assert "c4n4ry" not in ran.out + ran.err
    assert not node.asked


# contacts


def test_invite_prints_the_ticket_and_nothing_else(node: FakeNode, shell: Shell) -> None:
    node.answers["contacts.invite"] = {"ticket": "PP1ABC", "expires": "2026-11-25T00:00:00Z"}
    ran = shell("contacts", "invite", "bob", "--expires", "7d")
    assert node.params == {"name": "bob", "expires_s": 7 * 86400}
    assert ran.out == "PP1ABC\n"
    assert "2026-11-25" in ran.err
    assert json.loads(shell("contacts", "invite", "bob", "--json").out)["ticket"] == "PP1ABC"


@pytest.mark.slow
def test_add(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    node.answers["contacts.add"] = {"id": "c1", "name": "alice", "state": "pending"}
    ran = shell("contacts", "add", "alice", " PP1ABC\n")
    assert node.params == {"name": "alice", "ticket": "PP1ABC"}
    assert ran.out == "alice  pending\n"
    (tmp_path / "ticket").write_text("PP1FILE\n")
    shell("contacts", "add", "alice", "--ticket-file", str(tmp_path / "ticket"))
    assert node.params["ticket"] == "PP1FILE"
    shell.process("contacts", "add", "alice", "-", stdin=b"  PP1STDIN\n")
    assert node.params["ticket"] == "PP1STDIN"
    node.answers["identity.show"] = {"id": "ee", "name": "bob", "announced": [], "listening": []}
    shell("contacts", "add", "alice", "--id", "ff", "--address", "/ip4/1.2.3.4/tcp/1/p2p/x")
    assert node.params == {"name": "alice", "id": "ff", "address": "/ip4/1.2.3.4/tcp/1/p2p/x"}


def test_add_with_no_ticket_to_be_found(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    assert shell("contacts", "add", "a", "--ticket-file", str(tmp_path / "none")).code == 66
    (tmp_path / "empty").touch()
    assert shell("contacts", "add", "a", "--ticket-file", str(tmp_path / "empty")).code == 65
    assert shell("contacts", "add", "a", "--ticket-file", "/dev/zero").code == 65
    assert not node.asked


def test_contacts_verify_block_unblock(node: FakeNode, shell: Shell) -> None:
    bob = {"id": "c1", "name": "bob", "state": "active", "safety_number": "12345 67890"}
    node.answers |= {
        "contacts.verify": bob,
        "contacts.block": bob | {"state": "blocked"},
        "contacts.unblock": bob,
    }
    assert shell("contacts", "verify", "bob").out == "12345 67890\n"
    assert node.params == {"name": "bob"}
    assert shell("contacts", "verify", "bob", "12345", "67890").out == "bob  verified\n"
    assert node.params == {"name": "bob", "safety_number": "12345 67890"}
    assert shell("contacts", "block", "bob").out == "bob  blocked\n"
    assert shell("contacts", "unblock", "bob").out == "bob  active\n"


def test_contacts_list_show_edit(node: FakeNode, shell: Shell) -> None:
    bob = {"id": "c1", "name": "bob", "online": True, "queued": 0, "last_seen": None}
    node.answers |= {
        "contacts.list": [bob],
        "contacts.show": bob,
        "contacts.edit": bob | {"state": "active"},
    }
    head, row = shell("contacts", "list").out.splitlines()
    assert head.split() == ["NAME", "ONLINE", "LAST", "SEEN", "QUEUED", "ID"]
    assert row.split() == ["bob", "yes", "-", "0", "c1"]
    assert "name       bob  (unverified)" in shell("contacts", "show", "bob").out
    shell("contacts", "edit", "bob", "--note", "n", "--address", "/a", "--address", "/b")
    assert node.params == {"name": "bob", "note": "n", "addresses": ["/a", "/b"]}
    node.answers["contacts.list"] = []
    ran = shell("contacts", "list")
    assert (ran.out, ran.code) == ("", 0)
    assert "No contacts yet" in ran.err
    assert "contacts add NAME TICKET" in ran.err


def test_remove_asks_on_a_terminal_and_wants_to_be_told_elsewhere(
    node: FakeNode, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = {"id": "c1", "name": "bob", "queued": 3}
    node.answers |= {"contacts.show": bob, "contacts.remove": bob}
    for options in ((), ("--json",)):
        ran = shell("contacts", "remove", "bob", *options)
        assert (ran.code, ran.out) == (2, "")
        assert "this would remove bob and 3 queued" in ran.err
        assert "--yes" in ran.err
    assert "contacts.remove" not in [method for method, _ in node.asked]
    assert shell("contacts", "remove", "bob", "--yes").out == "bob  removed\n"
    monkeypatch.setattr("peerpost.cli.terminal.Terminal.can_ask", lambda _: True)
    monkeypatch.setattr("sys.stdin", io.StringIO("perhaps\n\n"))
    node.asked.clear()
    question = "Remove bob and 3 queued? [y/N]: "
    said = f"{question}Say y or n.\n{question}Nothing was removed.\n"
    assert shell("contacts", "remove", "bob").err == said
    assert [method for method, _ in node.asked] == ["contacts.show"]
    shell("contacts", "remove", "bob", "--yes")
    assert node.asked[-1][0] == "contacts.remove"


def test_delete_by_id_asks_nothing(node: FakeNode, shell: Shell) -> None:
    rows = [{"id": id_, "contact": "bob", "kind": "text", "size": 2} for id_ in ("k3f9", "7hq2")]
    node.answers["inbox.delete"] = rows
    assert shell("inbox", "delete", "k3", "7h").out == "k3f9  deleted\n7hq2  deleted\n"
    assert node.params == {"ids": ["k3", "7h"]}
    ran = shell("inbox", "delete", "k3", "--contact", "bob", "--json")
    assert [json.loads(line) for line in ran.out.splitlines()] == rows
    assert node.params == {"ids": ["k3"], "contact": "bob"}
    node.asked.clear()
    assert shell("inbox", "delete").code == 2
    assert shell("inbox", "delete", "k3", "--older-than", "1d").code == 2
    assert node.asked == []


def test_delete_by_age_asks_where_it_is_more_than_one(
    node: FakeNode, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"id": "k3f9", "contact": "bob", "kind": "text", "size": 2}
    pages = iter([[row] * 1000, [row]])
    node.answers["inbox.older"] = {"count": 1001, "size": 5_000_000}
    node.answers["inbox.delete"] = lambda _: next(pages)
    refused = shell("inbox", "delete", "--older-than", "30d")
    assert (refused.code, refused.out) == (2, "")
    assert "1001 messages" in refused.err
    assert "--yes" in refused.err
    monkeypatch.setattr("peerpost.cli.terminal.Terminal.can_ask", lambda _: True)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\nYes \n"))
    asked_for = shell("inbox", "delete", "--older-than", "30d").err
    assert asked_for == "Delete 1001 messages (4.8 MiB)? [y/N]: Nothing was deleted.\n"
    assert shell("inbox", "delete", "--older-than", "30d", "--json").code == 2
    assert "inbox.delete" not in dict(node.asked)
    assert shell("inbox", "delete", "--older-than", "30d").out.count("deleted") == 1001
    asked = [params for method, params in node.asked if method == "inbox.delete"]
    meant = node.asked[-3][1]["before"]
    assert asked == [{"before": meant, "limit": 1000}] * 2
    assert 0 <= time.time() * 1000 - 30 * 86_400_000 - meant < 60_000

    node.answers["inbox.older"] = {"count": 1, "size": 2}
    node.answers["inbox.delete"] = [row]
    assert shell("inbox", "delete", "--older-than", "30d", "-c", "bob").out == "k3f9  deleted\n"
    assert node.params["contact"] == "bob"
    node.answers["inbox.older"] = {"count": 0, "size": 0}
    ran = shell("inbox", "delete", "--older-than", "36500d")
    assert (ran.code, ran.out) == (0, "")
    assert node.params["before"] == 0


# queue, sent, transfers


@pytest.mark.parametrize(
    ("arguments", "method", "params"),
    [
        (["queue", "list"], "queue.list", {"limit": 1000}),
        (["queue", "list", "--contact", "bob"], "queue.list", {"contact": "bob", "limit": 1000}),
        (["queue", "show", "7h"], "queue.show", {"id": "7h"}),
        (["queue", "retry", "7h"], "queue.retry", {"id": "7h"}),
        (["queue", "cancel", "7h"], "queue.cancel", {"id": "7h"}),
        (["sent", "list", "--limit", "3"], "sent.list", {"limit": 4}),
        (["sent", "show", "7h"], "sent.show", {"id": "7h"}),
        (["transfers", "list"], "transfers.list", {"limit": 1000}),
        (["transfers", "show", "7h"], "transfers.show", {"id": "7h"}),
        (["transfers", "accept", "7h"], "transfers.accept", {"id": "7h"}),
        (["transfers", "reject", "7h"], "transfers.reject", {"id": "7h"}),
    ],
)
def test_entries(
    node: FakeNode, shell: Shell, arguments: list[str], method: str, params: dict[str, Any]
) -> None:
    node.answers[method] = [ENTRY] if method.endswith("list") else ENTRY
    assert "7hq2m" in shell(*arguments).out
    assert node.asked == [(method, params)]
    assert json.loads(shell(*arguments, "--json").out) == ENTRY


# inbox


ITEM = {
    "id": "k3f9",
    "contact": "bob",
    "kind": "text",
    "size": 9,
    "received_at": "2026-11-24T12:00:00Z",
    "sent_at": None,
    "unread": True,
    "preview": "one\x1b[2J",
    "name": None,
}


def test_inbox_list(node: FakeNode, shell: Shell) -> None:
    node.answers["inbox.list"] = [ITEM]
    ran = shell(
        "inbox", "list", "--contact", "bob", "--unread", "--limit", "5", "--since", "2026-11-01"
    )
    assert set(node.asked[-2][1]) == {"contact", "unread", "limit", "since"}
    assert node.asked[-1] == ("transfers.asking", {"contact": "bob"})
    assert ran.out.splitlines()[1].split() == [
        "k3f9",
        "bob",
        "text",
        "9",
        "2026-11-24T12:00:00Z",
        "yes",
        "one<U+001B>[2J",
    ]
    shell("inbox", "list")
    assert node.asked[-2] == ("inbox.list", {"limit": 1000})


def test_inbox_show(node: FakeNode, shell: Shell) -> None:
    node.answers["inbox.read"] = ITEM | {"body": "one\x1b[2J\ntwo\n"}
    assert shell("inbox", "show", "k3").out.endswith("\n\none<U+001B>[2J\ntwo\n")
    assert json.loads(shell("inbox", "show", "k3", "--json").out)["body"] == "one\x1b[2J\ntwo\n"
    node.answers["inbox.read"] = ITEM | {"kind": "file", "name": "a\u202efdp.exe", "blake2b": "ff"}
    ran = shell("inbox", "show", "k3")
    assert "a<U+202E>fdp.exe" in ran.out
    assert "inbox save k3f9" in ran.err


def test_inbox_mark(node: FakeNode, shell: Shell) -> None:
    node.answers["inbox.mark"] = [{"id": "a", "unread": True}, {"id": "b", "unread": True}]
    assert shell("inbox", "mark", "a", "b", "--unread").out == "a  unread\nb  unread\n"
    assert node.params == {"ids": ["a", "b"], "unread": True}


# node, doctor, config, completion


def test_node_status_and_stop(home: Path, shell: Shell) -> None:
    assert shell("node", "status").code == 69
    ran = shell("node", "stop")
    assert (ran.code, ran.err) == (0, "The node is not running.\n")


@pytest.mark.slow
def test_node_stop_waits(node: FakeNode, shell: Shell) -> None:
    with subprocess.Popen(["sleep", "0.3"]) as child:
        node.answers["node.stop"] = {"state": "stopping", "pid": 1}
        ours, started = processes.this_process(), processes._started(child.pid)
        mark = dataclasses.replace(ours, pid=child.pid, started=started)
        (node.home / "lock").write_text(mark.text())
        assert json.loads(shell("node", "stop", "--json").out) == {
            "state": "stopped",
            "pid": child.pid,
        }
        assert child.wait(0) == 0


def test_the_first_process_of_a_container_is_not_to_be_killed(
    node: FakeNode, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (started := processes._started(1)):
        pytest.skip("nothing tells when the first process has started")
    monkeypatch.setattr("peerpost.cli.commands.node.STOP_TIMEOUT_S", 0.2)
    node.answers["node.stop"] = {"state": "stopping", "pid": 1}
    first = dataclasses.replace(processes.this_process(), pid=1, started=started)
    (node.home / "lock").write_text(first.text())
    ran = shell("node", "stop")
    assert ran.code == 69
    assert "stop the container" in ran.err
    assert "kill -9" not in ran.err


@pytest.mark.slow
def test_what_has_the_number_of_a_node_that_is_gone_is_not_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        try:
            gone = dataclasses.replace(processes.this_process(), pid=other.pid, started="1")
            assert processes.wait_for_exit(gone, time.monotonic() + 5)
            assert other.poll() is None
        finally:
            other.kill()


def test_node_start_when_it_runs(node: FakeNode, shell: Shell) -> None:
    status = {"state": "running", "stays": False}
    node.answers |= {"node.stay": None, "node.status": status, "node.ready": {"state": "running"}}
    ran = shell("node", "start")
    assert ran.out == "state  running\n"
    assert [method for method, _ in node.asked] == ["node.status", "node.stay", "node.ready"]
    status["stays"] = True
    assert shell("node", "start", "--listen", "/ip4/0.0.0.0/tcp/1").code == 71


@pytest.mark.parametrize(
    ("arguments", "becomes"),
    [
        (
            ["node", "run", "--listen", "/a", "--json", "--log-level", "debug"],
            ["run", "--home", "HOME", "--listen", "/a", "--json", "--log-level", "debug"],
        ),
        (
            ["node", "run", "--listen", "/a", "--listen", "/b"],
            ["run", "--home", "HOME", "--listen", "/a", "--listen", "/b"],
        ),
    ],
)
def test_node_run_becomes_the_node(
    home: Path,
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    becomes: list[str],
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, argv: ran.append(argv))
    shell(*arguments)
    expected = [str(home) if part == "HOME" else part for part in becomes]
    assert ran == [[sys.executable, "-P", "-m", "peerpost.node", *expected]]


def test_doctor(node: FakeNode, shell: Shell, home: Path) -> None:
    good = {"check": "python", "ok": True, "found": "3.11", "hint": None}
    node.answers["doctor"] = [good]
    assert shell("doctor").code == 0
    rows = [json.loads(line) for line in shell("doctor", "--json").out.splitlines()]
    assert [row["check"] for row in rows] == ["home", "permissions", "python"]
    node.answers["doctor"] = [good | {"ok": False, "hint": "reinstall"}]
    ran = shell("doctor")
    assert ran.code == 1
    assert "reinstall" in ran.out
    node.answers["doctor"] = [good]
    home.chmod(0o755)
    ran = shell("doctor")
    assert ran.code == 1
    assert "chmod 700" in ran.out


def test_config(home: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / "config.toml"
    assert shell("config", "path").out == f"{path}\n"
    assert shell("config", "check").code == 0
    path.write_text('[log]\nlevel = "debug"\n')
    monkeypatch.setenv("PEERPOST__STORAGE__ACCEPT", "ask")
    rows = {}
    for line in shell("config", "show", "--json").out.splitlines():
        row = json.loads(line)
        rows[row["key"]] = (row["value"], row["origin"])
    assert rows["log.level"] == ("debug", "config.toml")
    assert rows["storage.accept"] == ("ask", "PEERPOST__STORAGE__ACCEPT")
    assert rows["node.idle_exit"] == (300, "default")
    for key, value in (
        ("storage.quota", "20 GiB"),
        ("storage.keep_for", "30d"),
        ("storage.keep_count", "1000"),
        ("storage.keep_unread", "true"),
        ("log.kept", "3"),
        ("node.idle_exit", "5min"),
    ):
        path.write_text('[storage]\nkeep_for = "30d"\nkeep_count = 1000\n')
        assert re.search(rf"{key} +{value} +", shell("config", "show").out), key
    path.write_text("[log]\nlevle = 1\n")
    for command in ("show", "check"):
        ran = shell("config", command)
        assert ran.code == 78
        assert "'level'" in ran.err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_script(shell: Shell, name: str) -> None:
    assert "_PEERPOST_COMPLETE" in shell("completion", name).out


@pytest.mark.slow
def test_completion_knows_commands_and_contacts(node: FakeNode, shell: Shell) -> None:
    node.answers["contacts.list"] = [{"name": "bob"}, {"name": "alice"}]

    def complete(words: str, at: int) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", "from peerpost.cli.main import main; main()"],
            capture_output=True,
            check=False,
            timeout=20,
            env=os.environ
            | {
                "_PEERPOST_COMPLETE": "bash_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": str(at),
                "PEERPOST_HOME": str(node.home),
            },
        )
        return [line.partition(",")[2] for line in done.stdout.decode().splitlines()]

    assert complete("peerpost cont", 1) == ["contacts"]
    assert complete("peerpost contacts re", 2) == ["remove"]
    assert complete("peerpost send-net --contact b", 3) == ["bob"]


@pytest.mark.slow
def test_completion_starts_no_node_where_there_is_no_store(home: Path, shell: Shell) -> None:
    done = shell.process(
        _PEERPOST_COMPLETE="bash_complete",
        COMP_WORDS="peerpost contacts show b",
        COMP_CWORD="3",
        PEERPOST_HOME=str(home),
    )
    assert done.stdout.strip() == b""
    assert [path.name for path in home.iterdir()] == ["keyfile"]
