"""A limit of failed log-ins, which one client cannot use up for others.

Tokens have 256 bits and are not guessed: the limit keeps logs and the processor free of those who try. A right token is never refused
for what others, who may come from the same proxy, tried before.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

PERIOD_S = 60.0
OWN = 5  # failures within a period that each address always has
MOST_OF_ONE = 30  # of one address, as long as there is room for all
MOST_OF_ALL = 300  # beyond the own ones
MOST_ADDRESSES = 1024
IPV6_NETWORK = 64  # bits that a customer of a provider has in common


class LogInLimit:
    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._begun_s = now()
        self._shared = 0
        self._by_address: OrderedDict[str, int] = OrderedDict()

    def failed(self, address: str) -> bool:
        """Note a failure; whether it was one too many, and is to be answered 429."""
        if self._now() - self._begun_s >= PERIOD_S:
            self._begun_s, self._shared = self._now(), 0
            self._by_address.clear()
        key = _network(address)
        count = self._by_address.get(key, 0) + 1
        if key not in self._by_address and len(self._by_address) >= MOST_ADDRESSES:
            self._by_address.popitem(last=False)
        self._by_address[key] = count
        if count <= OWN:
            return False
        if count > MOST_OF_ONE or self._shared >= MOST_OF_ALL:
            return True
        self._shared += 1
        return False


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, IPV6_NETWORK), strict=False)) if found.version == 6 else address
