"""Where work is done that only computes."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from peerpost.node import services as module
from peerpost.node.services import Services


@pytest.mark.parametrize(("processors", "on_the_loop"), [(1, True), (2, True), (3, False)])
def test_threads_compute_where_there_are_processors_for_them(
    monkeypatch: pytest.MonkeyPatch, processors: int, on_the_loop: bool
) -> None:
    monkeypatch.setattr(module, "PROCESSORS", processors)
    with ThreadPoolExecutor(1) as threads:
        fields: dict[str, Any] = dict.fromkeys(("home", "store", "config", "events", "limits"))
        services = Services(**fields, threads=threads)
        where = asyncio.run(cast("Any", services.computed(threading.current_thread)))
        assert (where is threading.current_thread()) is on_the_loop
        assert asyncio.run(cast("Any", services.in_thread(max, 1, 2))) == 2
