"""The cost of one progress update on Couchbase with a short history and with a long one.

``python benchmarks/couchbase_updates.py`` measures on the stand-in of the tests, which runs on the same machine and
parses the whole document for every call; give it the URL of a real cluster to measure there. Prints the median time,
the processor time of this process, and on the stand-in the bytes on the wire, both directions together.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.backends.couchbase.servers import RunningStandIn, started
from zerog.backends.couchbase.datastore import CouchbaseDatastore
from zerog.records.job import new_document, new_uuid
from zerog.records.operations import Append, Max, Set
from zerog.support.clock import SYSTEM, to_text

ROUNDS, UPDATES = 5, 200
LENGTHS = (10, 1_000)
KEEP = 1_000


def event(now: str, number: int) -> dict[str, str]:
    """An entry as ``record_event`` makes it."""
    return {"timestamp": now, "msg": f"line {number} of the file was counted"}


def measured(
    datastore: CouchbaseDatastore, stand_in: RunningStandIn | None, length: int
) -> tuple[list[float], float, float]:
    """Of updates of a document with so many events: seconds of each; processor seconds and bytes of one."""
    now = to_text(SYSTEM.now())
    key = f"zerog_job_{new_uuid()}"
    head = {**new_document("word_count", 2.0, now), "path": "war-and-peace.txt", "offset": 0, "words": 0}
    owner = {"worker": "host-1-abcdef", "nonce": "0123456789ab", "lease": 30.0}
    running = {"status": "running", "epoch": 1, "owner": owner, "running": True, "attempts": 1}
    datastore.create(key, {**head, **running, "events": [event(now, n) for n in range(length)]})
    if stand_in is not None:
        stand_in.heal()
    seconds, busy = [], time.process_time()
    for seq in range(1, UPDATES + 1):
        operations = [
            Set("offset", seq * 4096),
            Set("words", seq * 700),
            Append("events", event(now, seq), KEEP),
            Max("updatedAt", now),
        ]
        began = time.perf_counter()
        datastore.mutate(key, operations, epoch=1, seq=seq)
        seconds.append(time.perf_counter() - began)
    busy = (time.process_time() - busy) / UPDATES
    size = stand_in.heal()["bytes"] / UPDATES if stand_in is not None else 0.0
    datastore.delete(key)
    return seconds, busy, size


def main() -> None:
    """Measure both lengths in turn, and print."""
    stand_in = None if len(sys.argv) > 1 else started()
    datastore = CouchbaseDatastore(sys.argv[1] if stand_in is None else stand_in.url())
    seconds: dict[int, list[float]] = {length: [] for length in LENGTHS}
    busy: dict[int, list[float]] = {length: [] for length in LENGTHS}
    sizes: dict[int, float] = {}
    for _ in range(ROUNDS):
        for length in LENGTHS:
            taken, processor, sizes[length] = measured(datastore, stand_in, length)
            seconds[length] += taken
            busy[length].append(processor)
    for length in LENGTHS:
        wall, processor = statistics.median(seconds[length]) * 1e6, statistics.median(busy[length]) * 1e6
        print(f"{length:5} events: {wall:.0f} µs, {processor:.0f} of them here, {sizes[length]:.0f} bytes an update")
    datastore.close()


if __name__ == "__main__":
    main()
