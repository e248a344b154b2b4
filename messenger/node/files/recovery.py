"""Tidies up what an earlier run of the node left of files, before any transfer begins."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from peerpost.errors import StoreFullError
from peerpost.store.tables import blobs, deletion, endings

if TYPE_CHECKING:
    from pathlib import Path

    from peerpost.node.services import Services

    from .pipes import Pipes
    from .spool import Spool

__all__ = ["recover"]

log = logging.getLogger(__name__)


async def recover(services: Services, pipes: Pipes, spool: Spool, blobs_folder: Path) -> None:
    """End streams that were cut off and transfers that ended only partly; remove files that no row names."""
    await pipes.fail_cut_off()
    try:
        if count := await services.store.write(endings.reconcile):
            log.warning("%d files had ended by half; now they have ended", count)
    except StoreFullError as error:
        log.warning("cannot look for files that ended by half: %s", error.message)
    await spool.sweep()
    kept = await services.store.read(deletion.kept_files)
    await services.in_thread(blobs.sweep, blobs_folder, kept)
