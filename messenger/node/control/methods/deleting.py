"""`identity delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peerpost.client.rpc import Request
from peerpost.node.logs import Reason

if TYPE_CHECKING:
    from peerpost.node.host import Host

__all__ = ["delete"]


async def delete(host: Host, request: Request[None]) -> dict[str, Any]:
    """Make the keyfile unreadable, and delete what is in the home; say what stays. The node leaves then."""
    request.require_no_params()
    stays = await host.delete_identity()
    host.stop_soon(Reason("the identity was deleted"))
    return {"deleted": True, "stays": stays}
