"""Many files for a node that may open few: each is queued when there is a descriptor for it, and all arrive."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import MakeFriend
from tests.support.nodes import Friend, content, until

resource = pytest.importorskip("resource")
pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process"),
]

PASSPHRASE = b"umber lattice quiver saddle topaz morning\n"
COUNT = 100
ROOM = 14
"""Descriptors beyond those that the node has open at rest: fewer than it would use at once for these files."""


def most_open(pid: int) -> int:
    return max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir())


async def test_as_many_files_as_one_likes_are_sent_by_one_command(
    pair: tuple[Friend, Friend], folder: Path
) -> None:
    alice, bob = pair
    pid = await alice.node_pid()
    assert pid is not None
    at_rest = most_open(pid)
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (at_rest + ROOM, hard))
    for number in range(COUNT):
        (folder / f"f{number}").write_bytes(content(20_000, number))
    files = [str(folder / f"f{number}") for number in range(COUNT)]
    sent = await alice.cli("send-net", "--contact", "bob", "--file", *files)
    assert len(sent.rows) == COUNT

    async def all_there() -> bool:
        return len(await bob.ask("inbox.list")) == COUNT

    await until(all_there)
    assert {row["name"] for row in await bob.ask("inbox.list")} == {f"f{n}" for n in range(COUNT)}


@pytest.mark.parametrize("most", [16, 20, 24, 28])
async def test_what_a_command_says_of_a_home_holds_with_few_descriptors_too(
    friend: MakeFriend, most: int
) -> None:
    """With the fewest nothing is done, with some more there is no network; none of them ends the node by surprise."""
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    await alice.cli("node", "stop", code=None)
    wrap = ("bash", "-c", f'ulimit -n {most}; exec "$@"', "bash")
    set_ = ("identity", "passphrase", "set", "--passphrase-stdin")
    done = await alice.cli(*set_, stdin=PASSPHRASE, wrap=wrap, code=None)
    assert "internal" not in done.err
    if done.code == 0:
        status = (await alice.cli("node", "status")).row
        assert (status["state"], done.row["locked"]) == ("running", False)
        assert (await alice.cli("contacts", "list")).rows == []
    else:
        assert "oo many" in done.error["message"], done
    await alice.cli("node", "stop", code=None)
    unlocked = await alice.cli("identity", "unlock", "--passphrase-stdin", stdin=PASSPHRASE)
    assert unlocked.row["protected"] is (done.code == 0)
