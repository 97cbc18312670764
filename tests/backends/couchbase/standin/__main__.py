"""``python -m tests.backends.couchbase.standin``: prints its URL, then does what standard input asks for.

Each line there is a JSON object: ``{"faults": [...]}`` sets the faults, ``{"collection": "a.b"}`` makes one in every
bucket. Both are answered by a line with what was counted since the last one, ``{"dump": "a.b"}`` by the texts of that
collection's documents. It ends with its standard input, and so with its parent process.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading

from tests.backends.couchbase.standin.faults import Fault
from tests.backends.couchbase.standin.query import QueryService
from tests.backends.couchbase.standin.server import LARGEST, Server


def main() -> None:
    """Serve until standard input ends."""
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--bucket", action="append", default=[])
    options.add_argument("--collection", action="append", default=[], metavar="SCOPE.COLLECTION")
    options.add_argument("--password", default="password")
    options.add_argument("--largest", type=int, default=LARGEST, help="bytes of a document")
    options.add_argument("--query", action="store_true", help="answer SQL++, too")
    asked = options.parse_args()
    server = Server(
        asked.port,
        asked.bucket or ["default"],
        [tuple(name.split(".", 1)) for name in asked.collection],
        {"Administrator": asked.password},
        asked.largest,
    )
    if asked.query:
        service = QueryService(server)
        server.query_port = service.server_address[1]
        threading.Thread(target=service.serve_forever, daemon=True).start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"couchbase://Administrator@127.0.0.1:{server.port}", flush=True)
    for line in sys.stdin:
        recorded = json.loads(line)
        if "faults" in recorded:
            server.faults.set([Fault(**fault) for fault in recorded["faults"]])
        if "collection" in recorded:
            for bucket in server.buckets.values():
                bucket.add(tuple(recorded["collection"].split(".", 1)))
        if "dump" in recorded:
            bucket = next(iter(server.buckets.values()))
            print(json.dumps(bucket.texts(*recorded["dump"].split(".", 1))), flush=True)
            continue
        counts, server.faults.counts = server.faults.counts, type(server.faults.counts)()
        print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main()
