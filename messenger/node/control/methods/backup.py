"""`backup create` and `backup restore`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from peerpost.client.rpc import Answer, Final, Request
from peerpost.crypto.passphrase import MAX_PASSPHRASE_BYTES, normalize
from peerpost.node.clock import rfc3339
from peerpost.node.logs import Reason
from peerpost.store.files.backup import Manifest
from peerpost.store.tables import backups

if TYPE_CHECKING:
    from peerpost.node.host import Host
    from peerpost.node.opened import Opened

__all__ = ["create", "kept", "restore"]

Passphrase = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PASSPHRASE_BYTES)]


class _Create(msgspec.Struct, forbid_unknown_fields=True):
    passphrase: Passphrase
    files: bool = True


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    made_ms: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_000)]


class _Restore(msgspec.Struct, forbid_unknown_fields=True):
    passphrase: Passphrase


async def create(opened: Opened, request: Request[_Create]) -> Answer:
    """Write a backup to the file that came with the request, with its progress as events.

    The client says `backup.kept` once that file is in its place.
    """
    params = request.params_as(_Create)
    secret = normalize(f"{params.passphrase}\n")
    making = opened.transfers.backing_up.create(
        request.fd(0, writes=True), secret, files=params.files
    )
    return _told(making)


async def kept(opened: Opened, request: Request[_Kept]) -> dict[str, Any]:
    """Note that the backup of a moment is in its place."""
    params = request.params_as(_Kept)
    await opened.store.write(backups.made, params.made_ms)
    return {"made": rfc3339(params.made_ms)}


async def restore(host: Host, request: Request[_Restore]) -> Answer:
    """Put an empty home back from the file that came with the request; then the node leaves, and the next opens it."""
    params = request.params_as(_Restore)
    secret = normalize(f"{params.passphrase}\n")
    return _left(host, _told(host.restoring(request.fd(0), secret)))


async def _told(
    work: AsyncGenerator[tuple[int, int] | Manifest, None],
) -> AsyncGenerator[object, None]:
    async with aclosing(work) as reports:
        async for report in reports:
            if isinstance(report, Manifest):
                yield Final(_row(report))
            else:
                done, total = report
                yield {"done_bytes": done, "total_bytes": total}


async def _left(host: Host, answers: AsyncGenerator[object, None]) -> AsyncGenerator[object, None]:
    async with aclosing(answers) as told:
        async for answer in told:
            if isinstance(answer, Final):
                host.stop_soon(Reason("the home was put back from a backup"))
            yield answer


def _row(manifest: Manifest) -> dict[str, Any]:
    return {
        "made": rfc3339(manifest.made_ms),
        "made_ms": manifest.made_ms,
        "version": manifest.version,
        "size": manifest.total_bytes,
        "files": manifest.files,
        "entries": manifest.entries,
    }
