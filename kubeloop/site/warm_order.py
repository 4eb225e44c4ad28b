"""How a warm server is asked for a process; run as a script, it asks for one and is as good as that process.

`python -I -S warm_order.py ADDRESS -m MODULE ARGUMENT...` takes the place of `python -m MODULE ARGUMENT...`. Standard
library alone: as a script it must be there in no time, without site-packages.
"""

import json
import os
import socket
import struct
import sys
from collections.abc import Mapping, Sequence

HEADER = struct.Struct("!Q")
"""Before an order: the length of its JSON in bytes. Standard input, output and error come with it as descriptors."""

STARTED = struct.Struct("!q")
ENDED = struct.Struct("!i")
"""What comes back: at once the process id, in the end the exit code, negative for a signal."""

SIGNAL = struct.Struct("!B")
"""What may be sent in between: the number of a signal for the process."""


def connect(address: str) -> socket.socket:
    """A connection to the server at an abstract address.

    Raises:
        OSError: There is none.
    """
    asker = socket.socket(socket.AF_UNIX)
    try:
        asker.connect(f"\0{address}")
    except OSError:
        asker.close()
        raise
    return asker


def place(
    asker: socket.socket,
    module: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: str,
    group: int,
    streams: Sequence[int],
    modules: Sequence[str] = (),
) -> int:
    """Ask for a process that runs `python -m module`.

    Args:
        asker: From `connect`; the process lives no longer than it is open.
        module: What to run.
        arguments: Its command line.
        environment: All of its environment.
        folder: Its working directory.
        group: The process group it enters, if it is one of the server's session; 0: one of its own.
        streams: Its standard input, output and error.
        modules: What it will need: imported before it is forked.

    Returns:
        Its process id.

    Raises:
        OSError: It could not be started.
    """
    own = {"arguments": list(arguments), "environment": dict(environment), "folder": folder, "group": group}
    send(asker, {"module": module, "order": own, "modules": list(modules), "hints": []}, streams)
    answer = asker.recv(STARTED.size, socket.MSG_WAITALL)
    if len(answer) < STARTED.size:
        raise BlockingIOError("the warm server could not fork")
    return int(STARTED.unpack(answer)[0])


def send(asker: socket.socket, order: Mapping[str, object], streams: Sequence[int]) -> None:
    """Send an order."""
    text = json.dumps(order).encode()
    if streams:
        socket.send_fds(asker, [HEADER.pack(len(text))], list(streams))
    else:
        asker.sendall(HEADER.pack(len(text)))
    asker.sendall(text)


def ending(asker: socket.socket) -> int | None:
    """Wait for the end of the process; its exit code, or None when the server has gone, and it too."""
    answer = asker.recv(ENDED.size, socket.MSG_WAITALL)
    return int(ENDED.unpack(answer)[0]) if len(answer) == ENDED.size else None


def main(address: str, dash_m: str, module: str, *arguments: str) -> int:
    """Ask for a process in our place, and end as it does."""
    if dash_m != "-m":
        raise SystemExit(f"-m was expected, got {dash_m!r}")
    with connect(address) as asker:
        place(
            asker,
            module,
            arguments,
            environment=os.environ,
            folder=os.getcwd(),  # noqa: PTH109 - pathlib costs as much as all the rest of this
            group=os.getpgrp(),
            streams=(0, 1, 2),
        )
        code = ending(asker)
    if code is None:
        return 1
    return code if code >= 0 else 128 - code  # as a shell says it


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
