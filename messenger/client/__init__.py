"""What a command needs of the node: where a home lies, how its node is found, started and asked.

For programs in Python, `Client` and `AsyncClient` are the command line as objects:

    from peerpost.client import Client
"""

from __future__ import annotations

# Not imported from `typing`, and the classes only once they are asked for: every command imports this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from .api import Client as Client
    from .api import ContactInfo as ContactInfo
    from .api import InboxMessage as InboxMessage
    from .api import Sent as Sent
    from .async_api import AsyncClient as AsyncClient

__all__ = ["AsyncClient", "Client", "ContactInfo", "InboxMessage", "Sent"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = "async_api" if name == "AsyncClient" else "api"
    return getattr(importlib.import_module(f".{module}", __name__), name)
