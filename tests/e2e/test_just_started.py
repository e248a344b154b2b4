"""An inbox that is looked into by the command that starts the node: what is under way cannot be there yet."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.nodes import Friend

pytestmark = pytest.mark.asyncio

SAYS = "started only now"


async def test_an_inbox_of_a_node_that_has_just_begun_says_so(
    friend: Callable[..., Friend],
) -> None:
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    for command, code in ((("inbox", "list"), 0), (("inbox", "show", "k3f9"), 67)):
        await alice.cli("node", "stop")
        first = await alice.cli(*command, code=code)
        assert SAYS in json.loads(first.err.splitlines()[0])["note"]
        assert first.out == b""
        again = await alice.cli(*command, code=code)
        assert SAYS not in again.err
