"""Two network namespaces joined by a link of our own: delay, jitter, loss, rate, reorder, cut and heal, live.

    with Lab(Quality(delay_s=0.025, rate_bytes_s=1_250_000, queue_bytes=312_500)) as lab:
        subprocess.run([*lab.inside("left"), "peerpost", ...])      # a process that sees only the link
        lab.cut()

The kernel's own TCP runs over it, because the link carries IP packets between two TUN devices: what is measured is
a queue below TCP, as a slow line has one. A process of its own carries the packets (`driver`), by a model without
I/O or clock (`link`); it holds both namespaces open, so that they vanish with it, and it leaves with whoever made it.
Needs Linux, root and /dev/net/tun: `missing` says what is not there.
"""

from tests.support.netlab.lab import ADDRESSES, Lab, LabError, Side, missing
from tests.support.netlab.link import Counts, Quality
from tests.support.netlab.priority import before_others

__all__ = ["ADDRESSES", "Counts", "Lab", "LabError", "Quality", "Side", "before_others", "missing"]
