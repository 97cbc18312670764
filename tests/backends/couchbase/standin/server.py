"""The server: buckets, users, and the configuration that it sends to its clients."""

from __future__ import annotations

import socketserver
from collections.abc import Sequence
from typing import Any

from tests.backends.couchbase.standin.connection import Connection
from tests.backends.couchbase.standin.documents import Bucket
from tests.backends.couchbase.standin.faults import Faults

PARTITIONS = 64
LARGEST = 20 * 1024 * 1024
"""The largest size of a document, in bytes."""

CAPABILITIES = ["collections", "durableWrite", "tombstonedUserXAttrs", "cccp", "xattr", "nodesExt", "touch"]


class Server(socketserver.ThreadingTCPServer):
    """Listens on a port of the loopback interface. ``query_port``: where the query service is, if there is one."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        port: int = 0,
        buckets: Sequence[str] = ("default",),
        collections: Sequence[tuple[str, str]] = (),
        users: dict[str, str] | None = None,
        largest: int = LARGEST,
    ) -> None:
        super().__init__(("127.0.0.1", port), Connection)
        self.users = users or {"Administrator": "password"}
        self.buckets = {name: Bucket(list(collections), largest) for name in buckets}
        self.faults = Faults()
        self.port = self.server_address[1]
        self.query_port: int | None = None

    def config(self, bucket: str) -> dict[str, Any]:
        """The configuration sent to a client: of the cluster, and of its bucket once it has selected one."""
        services = {"kv": self.port}
        if self.query_port is not None:
            services["n1ql"] = self.query_port
        config: dict[str, Any] = {
            "rev": 1,
            "revEpoch": 1,
            "nodesExt": [{"thisNode": True, "hostname": "127.0.0.1", "services": services}],
            "clusterCapabilitiesVer": [1, 0],
            "clusterCapabilities": {},
        }
        if bucket:
            config |= {
                "name": bucket,
                "uuid": "0" * 32,
                "nodeLocator": "vbucket",
                "bucketCapabilities": CAPABILITIES,
                "nodes": [{"hostname": "127.0.0.1", "ports": {"direct": self.port}}],
                "vBucketServerMap": {
                    "hashAlgorithm": "CRC",
                    "numReplicas": 0,
                    "serverList": [f"127.0.0.1:{self.port}"],
                    "vBucketMap": [[0]] * PARTITIONS,
                },
            }
        return config
