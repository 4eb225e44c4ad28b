"""Clients that post without pause, remember what was acknowledged, and outlive the sink."""

import http.client
import json
import threading
import time
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

from kubeloop.store.tables import predictions
from tests.monitoring.log.sinks import REQUEST, RESPONSE, agent_headers

ASK = json.dumps({"instances": [[63, "1"]]}).encode()
SAY = json.dumps({"predictions": [True], "probabilities": [[0.25, 0.75]]}).encode()


class Crowd:
    """Threads that post requests and answers under fresh ids.

    Attributes:
        acknowledged: (event id, kind) of all that was answered 202.
        statuses: How often each status was answered; `lost` for connections that broke.
    """

    def __init__(self, port: int, size: int, duplicates: bool = True) -> None:
        self._port = port
        self._duplicates = duplicates
        self._ending = threading.Event()
        self.acknowledged: set[tuple[str, str]] = set()
        self.statuses: Counter[object] = Counter()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(size)]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(240)

    def wait_for(self, more: int, timeout_s: float = 240) -> None:
        """Until so many more were acknowledged."""
        wanted = len(self.acknowledged) + more
        ends = time.monotonic() + timeout_s
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < ends, (len(self.acknowledged), wanted, self.statuses)
            time.sleep(0.002)

    def _run(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=180)
        count = 0
        while not self._ending.is_set():
            count += 1
            for kind, body in ((REQUEST, ASK), (RESPONSE, SAY)):
                for _ in range(2 if self._duplicates and count % 5 == 0 else 1):
                    self._post(connection, f"client {number} event {count}", kind, body)
        connection.close()

    def _post(self, connection: http.client.HTTPConnection, event_id: str, kind: str, body: bytes) -> None:
        try:
            connection.request("POST", "/events", body, agent_headers(event_id, kind))
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.statuses["lost"] += 1
            connection.close()
            return
        self.statuses[answer.status] += 1
        if answer.status == 202:
            self.acknowledged.add((event_id, kind))


def stored(engine: sa.Engine) -> Counter[tuple[str, str]]:
    """(event id, kind) of all that is in the store, and how often."""
    with engine.connect() as connection:
        columns = (predictions.c.event_id, predictions.c.inputs.is_not(None), predictions.c.outputs.is_not(None))
        found = connection.execute(sa.select(*columns)).all()
    counts: Counter[tuple[str, str]] = Counter()
    for event_id, asked, answered in found:
        counts.update([(event_id, REQUEST)] * bool(asked) + [(event_id, RESPONSE)] * bool(answered))
    return counts


def hold(engine: sa.Engine, crowd: Crowd, root: Path) -> None:
    """All that was acknowledged is stored, each once; nothing waits."""
    found = stored(engine)
    missing = crowd.acknowledged - found.keys()
    assert not missing, (len(missing), len(crowd.acknowledged), sorted(missing)[:3])
    assert set(found.values()) == {1}
    assert not root.is_dir() or not list(root.iterdir())
