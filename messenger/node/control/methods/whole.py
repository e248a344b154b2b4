"""Commands that record something and then act on it: they run to their end, even if the client has hung up."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from peerpost.client.rpc import P, Request

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["whole"]

T = TypeVar("T")


def whole(
    handler: Callable[[Opened, Request[P]], Coroutine[Any, Any, T]],
) -> Callable[[Opened, Request[P]], Awaitable[T]]:
    """Return a handler that is not cancelled when its client leaves, so that it carries out what it has recorded."""

    @functools.wraps(handler)
    async def run(opened: Opened, request: Request[P]) -> T:
        return await opened.network.to_its_end(handler(opened, request), name=request.method)

    return run
