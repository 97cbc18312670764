"""Both consumers, as processes on a real server."""

from __future__ import annotations

import pytest

KINDS = ["rq.Worker", "rq.worker.SpawnWorker", "rq.SimpleWorker"]
OWN = ["zerog.rqworker.ZerogWorker", "zerog.rqworker.ZerogSpawnWorker", "zerog.rqworker.ZerogSimpleWorker"]


@pytest.mark.parametrize("kind", [*KINDS, *OWN])
def test_workers_of_rq(site, kind: str) -> None:
    """Each kind of worker runs, requeues and settles jobs, and leaves nothing in RQ's registries."""
    uuids = [site.line(), site.app.submit("twice").uuid, site.app.submit("fails").uuid]
    worker = site.worker(kind)
    assert site.until_ended(*uuids) == ["succeeded", "succeeded", "failed"]
    site.until(site.is_clean)
    _, pid, parent = site.written()[0]
    assert (pid if "Simple" in kind else parent) == str(worker.pid)
    assert site.stop(worker) == 0
    assert site.app.progress(uuids[1])["attempts"] == 2
    assert not site.app.engine.roster()


def test_worker_of_zerog(site) -> None:
    uuids = [site.line(), site.app.submit("twice", {"delay": 0.5}).uuid, site.app.submit("fails").uuid]
    worker = site.zerog_worker()
    assert site.until_ended(*uuids) == ["succeeded", "succeeded", "failed"]
    site.until(site.is_clean)
    assert site.stop(worker) == 0
