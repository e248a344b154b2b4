"""Lists are whole, or say that they are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from peerpost.client.rpc import Request

from .conftest import ENTRY, FakeNode, Shell

LISTS = ["queue", "sent", "inbox", "transfers"]


def rows(count: int) -> Any:
    """Answer like a node that has so many rows."""

    def answer(request: Request) -> list[dict[str, Any]]:
        start = int(request.params.get("after", "0").partition("-")[0])
        numbers = range(start + 1, min(count, start + request.params["limit"]) + 1)
        return [ENTRY | {"id": f"i{number}", "cursor": str(number)} for number in numbers]

    return answer


@pytest.mark.parametrize("group", LISTS)
@pytest.mark.parametrize("count", [999, 1000, 2500])
def test_every_row_is_listed(node: FakeNode, shell: Shell, group: str, count: int) -> None:
    node.answers[f"{group}.list"] = rows(count)
    ran = shell("--json", group, "list")
    assert [json.loads(line)["id"] for line in ran.out.splitlines()] == [
        f"i{number}" for number in range(1, count + 1)
    ]
    assert ran.err == ""


@pytest.mark.parametrize("group", LISTS)
def test_a_limit_that_leaves_rows_is_told_with_a_cursor(
    node: FakeNode, shell: Shell, group: str
) -> None:
    node.answers[f"{group}.list"] = rows(5)
    ran = shell("--json", group, "list", "--limit", "3")
    assert len(ran.out.splitlines()) == 3
    assert json.loads(ran.err) == {"more": "3"}
    rest = shell("--json", group, "list", "--limit", "3", "--after", "3")
    assert [json.loads(line)["id"] for line in rest.out.splitlines()] == ["i4", "i5"]
    assert rest.err == ""
    assert "--after 3" in shell(group, "list", "--limit", "3").err
    exact = shell("--json", group, "list", "--limit", "5")
    assert (len(exact.out.splitlines()), exact.err) == (5, "")
