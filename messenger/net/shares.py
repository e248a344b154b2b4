"""Places that strangers compete for, shared between networks, so that nobody can fill them from one network.

A network is an IPv4 /24 or an IPv6 /56, about what one customer or one rented machine has. What is kept is bounded by
the number of places, and by `MOST_NETWORKS` for what is kept longer than a place.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

__all__ = ["Pacer", "Places", "network_of"]

T = TypeVar("T")

IP4_BITS = 24
IP6_BITS = 56
MOST_NETWORKS = 1024


def network_of(host: str) -> str:
    """Return the network of an IP address, as text; of anything else, the text itself."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    bits = IP4_BITS if ip.version == 4 else IP6_BITS
    return str(ipaddress.ip_network((ip, bits), strict=False))


class Places(Generic[T]):
    """A number of places. When all are taken, a newcomer gets one from the network that has the most.

    A newcomer whose own network already has its share, or as many as any, gets one of its own network only.
    """

    def __init__(self, places: int, share: int) -> None:
        """Make the places. A network that has `share` of them or more cannot take one from another network."""
        self._places = places
        self._share = share
        self._taken: OrderedDict[T, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._taken)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._taken))

    def __contains__(self, one: T) -> bool:
        return one in self._taken

    def contested(self, network: str) -> bool:
        """Return whether any other network has a place."""
        return any(name != network for name in self._taken.values())

    def take(
        self, one: T, network: str, gives_way: Callable[[T], bool] = lambda _: False
    ) -> T | None:
        """Take a place; return who has to leave for it, if anyone. That one has lost its place already.

        Within a network the oldest for which `gives_way` is true leaves, else the oldest.
        """
        leaver = self._leaver(network, gives_way) if len(self._taken) >= self._places else None
        if leaver is not None:
            del self._taken[leaver]
        self._taken[one] = network
        return leaver

    def leave(self, one: T) -> None:
        """Give a place back, if it was taken at all."""
        self._taken.pop(one, None)

    def _leaver(self, network: str, gives_way: Callable[[T], bool]) -> T:
        counts = Counter(self._taken.values())
        most = max(counts.values())
        # A network that has its share already, or would then have as many as any, takes nothing from others.
        own = counts[network] >= min(self._share, most) and counts[network] > 0
        among = {network} if own else {name for name, count in counts.items() if count == most}
        rivals = [one for one, name in self._taken.items() if name in among]
        return next(filter(gives_way, rivals), rivals[0])


class Pacer:
    """How often each network may begin something: `burst` at once, `per_s` in the long run. Times are arguments."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._seen: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def allows(self, network: str, now_s: float) -> bool:
        """Return whether one more may begin now, and count it if so.

        After `MOST_NETWORKS` others came, a network is forgotten; it then has its full burst again.
        """
        left, at_s = self._seen.pop(network, (float(self._burst), now_s))
        left = min(self._burst, left + max(0.0, now_s - at_s) * self._per_s)
        allowed = left >= 1
        self._seen[network] = (left - 1 if allowed else left, now_s)
        while len(self._seen) > MOST_NETWORKS:
            self._seen.popitem(last=False)
        return allowed
