"""Ports for servers that are told a number, because they take no socket that is open already."""

import random
import socket
from pathlib import Path

_LOWEST = 20_000


def free_port() -> int:
    """A port that nobody takes before the server does: the kernel gives away others, to whoever asks for any."""
    given_away = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    first = int(given_away.split()[0])
    draw = random.SystemRandom()
    while True:
        port = draw.randrange(_LOWEST, first) if first > _LOWEST else 0
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(tried.getsockname()[1])
