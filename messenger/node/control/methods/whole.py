"""Commands that record something and then act on it: they come to their end, though whoever asked has hung up."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from peerpost.client.rpc import Request

if TYPE_CHECKING:
    from peerpost.node.node import Node

__all__ = ["whole"]

T = TypeVar("T")


def whole(
    handler: Callable[[Node, Request], Coroutine[Any, Any, T]],
) -> Callable[[Node, Request], Awaitable[T]]:
    """Return a handler that is not cut off where its client leaves: what is recorded is carried out, too."""

    @functools.wraps(handler)
    async def run(node: Node, request: Request) -> T:
        return await node.opened().network.to_its_end(handler(node, request), name=request.method)

    return run
