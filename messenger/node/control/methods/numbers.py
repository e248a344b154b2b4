"""Numbers that come over the control socket. Each type has bounds, so that none overflows a clock or a column.

`tests/messenger/node/control/test_numbers.py` checks that no parameter of any method is a bare int or float.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from peerpost.client.rpc import CURSOR

__all__ = ["Bytes", "Cursor", "Duration", "Index", "Limit", "Rate", "TimeMs", "Wait"]

YEARS_100_S: Final = 100 * 366 * 86_400

Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 50, description="A size in bytes.")]
"""A size: up to a pebibyte."""
Rate = Annotated[
    int, msgspec.Meta(ge=1, lt=1 << 50, description="Bytes or messages, in a second or at once.")
]
"""Bytes or messages in a second."""
Limit = Annotated[int, msgspec.Meta(ge=1, le=1 << 40, description="The most rows.")]
"""How many rows."""
Index = Annotated[
    int,
    msgspec.Meta(ge=0, le=1 << 16, description="The index of a file that came with the request."),
]
"""The index of a file that came with a request."""
TimeMs = Annotated[
    int,
    msgspec.Meta(ge=0, le=253_402_300_799_999, description="A moment, in milliseconds since 1970."),
]
"""A moment, up to the year 9999."""
Duration = Annotated[
    float, msgspec.Meta(gt=0, le=YEARS_100_S, description="Seconds until it ends.")
]
"""Seconds until something ends, up to a hundred years."""
Wait = Annotated[float, msgspec.Meta(ge=0, le=YEARS_100_S, description="Seconds to wait.")]
"""Seconds that a caller waits."""
Cursor = Annotated[
    str,
    msgspec.Meta(
        max_length=64,
        pattern=rf"^{CURSOR}\Z",
        description="Where to go on: the `cursor` of the last row.",
    ),
]
"""Where a list goes on: the `cursor` of the last row that was shown."""
