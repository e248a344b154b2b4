"""A node of an earlier version that still runs: the command says so, and not which field or method it lacks."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from peerpost import __version__
from peerpost.client.connection import dial
from peerpost.client.rpc import InvalidParamsError, Request

from .conftest import FakeNode, Shell

EARLIER = """
import sys
import msgspec
import peerpost
peerpost.__version__ = "0.0.9"
from peerpost.node import daemon
from peerpost.node.control.methods import send

class File(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    fd_index: int = 0
    path_hint: str | None = None

send._File = File
sys.exit(daemon.main(sys.argv[1:]))
"""


def unknown_field(_: Request) -> None:
    raise InvalidParamsError("send-net: Object contains unknown field `path_hex` - at `$.file`")


def of_version(version: str) -> dict[str, str]:
    return {"state": "running", "version": version}


@pytest.mark.parametrize("files", [1, 3])
def test_a_parameter_that_it_does_not_know(
    node: FakeNode, shell: Shell, tmp_path: Path, files: int
) -> None:
    (tmp_path / "a").touch()
    node.answers |= {"send-net": unknown_field, "node.status": of_version("0.0.9")}
    ran = shell("send", "-c", "bob", "--file", *[str(tmp_path / "a")] * files)
    assert ran.code == 69
    assert "the node is of version 0.0.9" in ran.err
    assert "peerpost node stop, then again" in ran.err
    assert "path_hex" not in ran.err


@pytest.mark.parametrize("answer", [{}, [{}], None, 7])
def test_an_answer_that_lacks_what_this_version_has(
    node: FakeNode, shell: Shell, answer: object
) -> None:
    node.answers |= {"queue.cancel": answer, "node.status": of_version("0.0.9")}
    ran = shell("--json", "queue", "cancel", "x")
    if ran.code:  # With --json any row is printed as it is.
        assert json.loads(ran.err.splitlines()[-1])["error"]["code"] == "unavailable"
    ran = shell("queue", "cancel", "x")
    assert ran.code == 69
    assert "of version 0.0.9" in ran.err


def test_a_method_that_it_does_not_know(node: FakeNode, shell: Shell) -> None:
    node.answers["node.status"] = of_version("0.0.9")
    assert "of version 0.0.9" in shell("sent", "list").err


def test_a_node_that_does_not_know_the_question_for_its_version(
    node: FakeNode, shell: Shell
) -> None:
    assert "no method 'sent.list'" in shell("sent", "list").err
    assert [method for method, _ in node.asked] == ["sent.list", "node.status"]


@pytest.mark.parametrize("status", [of_version(__version__), {}, None, [7]])
def test_of_one_of_our_own_version_all_is_said_as_ever(
    node: FakeNode, shell: Shell, tmp_path: Path, status: object
) -> None:
    (tmp_path / "a").touch()
    node.answers |= {"send-net": unknown_field, "node.status": status}
    ran = shell("send", "-c", "bob", "--file", str(tmp_path / "a"))
    assert ran.code == 2
    assert "path_hex" in ran.err


async def _answers(home: Path) -> None:
    while (found := await asyncio.to_thread(dial, home)) is None:  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.05)
    found.close()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_real_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(0o700)
    (home / "config.toml").write_text('[network]\nlisten = ["/ip4/127.0.0.1/tcp/0"]\n')
    (tmp_path / "file").write_text("hello")

    async def cli(*arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "peerpost.cli", "--home", str(home), *arguments),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, err.decode()

    assert (await cli("identity", "new", "--name", "alice", "--no-passphrase"))[0] == 0
    assert (await cli("contacts", "invite", "bob"))[0] == 0
    assert (await cli("node", "stop"))[0] == 0
    earlier = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", EARLIER, "run", "--home", str(home)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await asyncio.wait_for(_answers(home), 60)
        code, err = await cli("send", "-c", "bob", "--file", str(tmp_path / "file"))
        assert code == 69
        assert f"the node is of version 0.0.9, and this command of {__version__}" in err
        assert (await cli("node", "stop"))[0] == 0
    finally:
        if earlier.returncode is None:
            earlier.terminate()
        await earlier.wait()
    # Again: of this version one is started, which knows the field, and not bob.
    code, err = await cli("send", "-c", "bob", "--file", str(tmp_path / "file"))
    assert code == 67
    assert (await cli("node", "stop"))[0] == 0
