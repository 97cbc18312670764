"""Jobs on servers of other kinds: over TLS, as a node of a cluster, as old as 6.2."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import redis
import trustme
from marshmallow import Schema, fields

import zerog
from tests.backends.redis.servers import RunningServer, started
from tests.processes import until
from tests.servers import free_port
from zerog.exceptions import DatastoreUnavailable


class Double(zerog.BaseJob):
    JOB_TYPE = "double"

    class Params(Schema):
        n = fields.Integer(required=True)

    n: int

    def run(self) -> object:
        self.record_event("doubling")
        return {"twice": 2 * self.n}


def run_some(url: str) -> None:
    """Submit, run and look at jobs over a URL."""
    app = zerog.App(url)
    app.register(Double)
    try:
        jobs = [app.submit(Double, {"n": n}, priority=n) for n in range(5)]
        stats = zerog.Worker(app, concurrency=2).run(burst=True)
        assert (stats.succeeded, stats.ran) == (5, 5)
        assert [app.get_job(job.uuid).get_data() for job in jobs] == [{"twice": 2 * n} for n in range(5)]
        assert [event["msg"] for event in app.info(jobs[0].uuid)["events"]] == ["doubling"]
    finally:
        app.close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """The port of a server that takes TLS only there, and the certificate of its authority."""
    folder = tmp_path_factory.mktemp("tls")
    authority, certificate, port = folder / "authority.pem", folder / "server.pem", free_port()
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(authority)
    issuer.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    started("redis", "--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(certificate),
            "--tls-auth-clients", "no")  # fmt: skip
    return port, authority


@pytest.mark.parametrize("scheme", ["rediss", "rq+rediss"])
def test_over_tls(tls: tuple[int, Path], scheme: str) -> None:
    """With a server whose authority is known."""
    port, authority = tls
    run_some(f"{scheme}://127.0.0.1:{port}/0?ssl_ca_certs={authority}&prefix={scheme.replace('+', '-')}")


@pytest.mark.parametrize("scheme", ["rediss", "rq+rediss"])
def test_an_untrusted_certificate_is_refused(tls: tuple[int, Path], scheme: str) -> None:
    """Is refused with an error that names it; nothing is sent."""
    app = zerog.App(f"{scheme}://127.0.0.1:{tls[0]}/0")
    app.register(Double)
    with pytest.raises(DatastoreUnavailable, match=str(tls[0])) as caught:
        app.submit(Double, {"n": 1})
    causes: list[BaseException | None] = [caught.value]
    while causes[-1] is not None:
        causes.append(causes[-1].__cause__ or causes[-1].__context__)
    assert any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes)


@pytest.fixture
def node() -> RunningServer:
    """The only node of a cluster, which has no slots yet."""
    return started("valkey", "--cluster-enabled", "yes")


def test_on_a_cluster(node: RunningServer) -> None:
    """All keys of an app are in one slot; while no node serves it, submits report that. RQ itself knows no clusters."""
    app = zerog.App(node.url())
    app.register(Double)
    with pytest.raises(DatastoreUnavailable, match="cluster is down"):
        app.submit(Double, {"n": 1})
    with redis.Redis(port=node.port) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
    run_some(node.url())


@pytest.mark.parametrize("scheme", ["redis", "rq+redis"])
def test_on_the_oldest(scheme: str) -> None:
    """On 6.2."""
    server = started("oldest redis")
    with redis.Redis(port=server.port) as client:
        assert client.info()["redis_version"].startswith("6.2")
    run_some(server.url().replace("redis:", f"{scheme}:", 1))
