"""What a request pays for its line: CPU of the whole process, the writing thread with it."""

import os
import time

import pytest

from kubeloop.serving.request_log import RequestLog

REQUESTS = 200_000
ROUNDS = 5
MICROSECONDS = 3.0


@pytest.mark.bench
def test_a_line_costs_less_than_three_microseconds() -> None:
    rounds = []
    with open(os.devnull, "wb", buffering=0) as nothing:  # noqa: PTH123 - unbuffered, as standard output is
        for _ in range(ROUNDS):
            written = [0]

            def write(piece: bytes, written: list[int] = written) -> int:
                written[0] += piece.count(b"\n")
                return os.write(nothing.fileno(), piece)

            log = RequestLog("heart", "all", write)
            log.set("all", "sha256-" + "0" * 64)
            before = time.process_time()
            began = time.perf_counter()
            for place in range(REQUESTS):
                log.note(began, 0.00004, b"0123456789ab-%x" % place, "v1", 200, 1)
                if place % 10_000 == 9_999:
                    while log._entries:
                        time.sleep(0.001)
            log.close()
            rounds.append((time.process_time() - before) / REQUESTS * 1e6)
            assert written[0] == REQUESTS
    print(f"\na line: {min(rounds):.2f} us of CPU, the least of {', '.join(f'{each:.2f}' for each in rounds)}")
    assert min(rounds) < MICROSECONDS
