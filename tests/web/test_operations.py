"""Probes and figures."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import zerog
from tests.web.builders import Count, client, ended, make_app, waiting
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import DatastoreUnavailable, QueueUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.job import make_key
from zerog.records.operations import Set
from zerog.web import metrics

ELSEWHERE = ("192.0.2.7", 4711)


@pytest.fixture
def app() -> zerog.App:
    return make_app()


def figures(app: zerog.App) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples, by name and labels."""
    answer = client(app).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def labels(**given: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(given.items()))


def test_jobs_are_counted(app: zerog.App) -> None:
    """By status and by queue, and those that have not ended by type and stored version."""
    waiting(app), waiting(app), waiting(app, queue="slow", delay=60), ended(app), app.submit("idle")
    found = figures(app)
    numbers = {"queued": 3, "scheduled": 1, "running": 0, "succeeded": 1, "failed": 0, "cancelled": 0}
    assert {status: found["zerog_jobs", labels(status=status)] for status in numbers} == numbers
    assert {status: found["zerog_jobs_capped", labels(status=status)] for status in numbers} == dict.fromkeys(
        numbers, 0
    )
    assert found["zerog_queue_waiting", labels(queue="default")] == 4  # with the entry of the ended job
    assert found["zerog_queue_waiting", labels(queue="slow")] == 0
    assert found["zerog_queue_scheduled", labels(queue="slow")] == 1
    assert found["zerog_sample_jobs", labels(type="count", queue="default", status="queued")] == 2
    assert found["zerog_sample_jobs", labels(type="count", queue="slow", status="scheduled")] == 1
    assert found["zerog_sample_jobs", labels(type="idle", queue="default", status="queued")] == 1
    assert found["zerog_sample_capped", labels(status="queued")] == 0
    assert found["zerog_sample_documents", labels(type="count", schema_version="1.0")] == 3
    assert found["zerog_oldest_waiting_seconds", labels(queue="default")] >= 0
    assert found["zerog_stalled_jobs", ()] == 0


def test_a_scrape_reads_a_bounded_number_of_jobs(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest and the newest of a status; all are counted by an index, as far as a count goes."""
    monkeypatch.setattr(metrics, "SAMPLE", 2)
    uuids = [waiting(app, queue=queue) for queue in ("oldest", *["between"] * 9, "newest")]
    app.datastore.mutate(make_key(uuids[-1]), [Set("schemaVersion", 7.0)])
    app.datastore.mutate(make_key(uuids[0]), [Set("queuedAt", "2020-01-01T00:00:00.000000+00:00")])
    limits: list[int] = []
    find = app.datastore.find
    monkeypatch.setattr(app.datastore, "find", lambda query: (limits.append(query.limit), find(query))[1])
    found = figures(app)
    assert max(limits) <= 500
    assert found["zerog_jobs", labels(status="queued")] == 11
    sampled = {dict(key)["queue"]: number for (name, key), number in found.items() if name == "zerog_sample_jobs"}
    assert sampled == {"oldest": 1, "between": 2, "newest": 1}
    assert found["zerog_sample_capped", labels(status="queued")] == 1
    assert found["zerog_oldest_waiting_seconds", labels(queue="oldest")] > 1e6
    assert found["zerog_jobs_too_new", labels(type="count")] == 1
    count = app.count
    monkeypatch.setattr(app, "count", lambda **given: count(**given, cap=5))
    capped = figures(app)
    assert (capped["zerog_jobs", labels(status="queued")], capped["zerog_jobs_capped", labels(status="queued")]) == (
        5,
        1,
    )


def test_labels_are_bounded_and_no_uuid_is_one(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that submits to queues of its own invention makes no series without end."""
    monkeypatch.setattr(metrics, "LABELS", 3)
    uuids = [waiting(app, queue=f"queue-{number}") for number in range(8)]
    found = figures(app)
    queues = {dict(key)["queue"]: value for (name, key), value in found.items() if name == "zerog_sample_jobs"}
    assert len(queues) == 4
    assert queues["other"] == 5
    assert not any(uuid in str(found) for uuid in uuids)


def test_too_new_documents_are_counted(app: zerog.App) -> None:
    app.datastore.mutate(make_key(waiting(app)), [Set("schemaVersion", 7.0)])
    assert figures(app)["zerog_jobs_too_new", labels(type="count")] == 1


def test_workers_have_slots(app: zerog.App) -> None:
    record = {"queues": ["default"], "build": "b7", "jobs": 1, "config": {"concurrency": 4}}
    WorkerRecords(app.engine).renew(WorkerIdentity("alice", 30.0), 1, lambda: record)
    app.fleet.pause("default")
    found = figures(app)
    assert found["zerog_worker_up", labels(worker="alice", build="b7")] == 1
    assert found["zerog_slots", labels(worker="alice", state="busy")] == 1
    assert found["zerog_slots", labels(worker="alice", state="free")] == 3
    assert found["zerog_queue_paused", labels(queue="default")] == 1


def test_what_workers_ran_is_counted(app: zerog.App) -> None:
    """From their records, also once they have ended."""
    for path in ("good", "good", "bad"):
        app.submit(Count, {"path": path}, max_errors=1)
    zerog.Worker(app).run(burst=True)
    found = figures(app)
    assert found["zerog_runs_total", labels(type="count", outcome="succeeded")] == 2
    assert found["zerog_runs_total", labels(type="count", outcome="failed")] == 1
    assert found["zerog_run_seconds_count", labels(type="count")] == 3
    assert found["zerog_wait_seconds_bucket", labels(type="count", le="+Inf")] == 3
    assert found["zerog_wait_seconds_count", labels(type="count")] == 3
    assert found["zerog_lease_losses_total", ()] == 0


def test_text_of_jobs_stays_within_its_label(app: zerog.App) -> None:
    app.datastore.mutate(make_key(waiting(app)), [Set("jobType", 'x"} 1\nzerog_jobs{a="\\')])
    found = figures(app)
    assert found["zerog_sample_jobs", labels(type='x"} 1\nzerog_jobs{a="\\', queue="default", status="queued")] == 1


@pytest.mark.parametrize(
    ("part", "method", "error"),
    [("datastore", "read_heads", DatastoreUnavailable("10.0.0.1")), ("queue", "size", QueueUnavailable("10.0.0.1"))],
)
def test_readiness_says_what_is_down(
    app: zerog.App, monkeypatch: pytest.MonkeyPatch, part: str, method: str, error: Exception
) -> None:
    api = client(app)
    assert api.get("/readyz").json() == {"status": "ready"}

    def fail(*_arguments: Any) -> Any:
        raise error

    monkeypatch.setattr(getattr(app, part), method, fail)
    answer = api.get("/readyz")
    assert answer.status_code == 503
    assert part in answer.json()["detail"]
    assert "10.0.0.1" not in answer.text
    assert api.get("/healthz").status_code == 200


def test_probes_need_no_token_and_figures_do(app: zerog.App) -> None:
    """A probe addresses a machine by any name, and comes from another one."""
    api = client(app, ELSEWHERE, authorize=lambda *_: False, hosts=["jobs.example"])
    probe = {"Host": "10.1.2.3:8070"}
    assert api.get("/healthz", headers=probe).status_code == 200
    assert api.get("/readyz", headers=probe).status_code == 200
    assert api.get("/metrics", headers=probe).status_code == 400
    assert api.get("/metrics", headers={"Host": "jobs.example"}).status_code == 403
