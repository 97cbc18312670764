"""``/metrics``: gauges of what is stored now, and counters that workers keep in their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from operator import add
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from zerog.app import App
from zerog.contracts.find import ORDERS, FindQuery
from zerog.fleet.rates import RetiredRates
from zerog.jobs.progress import is_stalled
from zerog.records.commands import SILENT
from zerog.records.job import PAUSED, QUEUED, RUNNING, SCHEDULED, TERMINAL, Document
from zerog.records.rates import CLASSES, OTHER, RAN, RUNS, WAIT, WAITED
from zerog.support.clock import from_text
from zerog.web.answer import Answer
from zerog.web.call import Call

UNFINISHED = (QUEUED, SCHEDULED, PAUSED, RUNNING)

SAMPLE = 250
"""The oldest jobs of each status, and as many of the newest, whose heads are read."""

LABELS = 50
"""Values of a label; rarer ones are ``other``."""

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics(call: Call) -> Answer:
    """Return the figures in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(call.app))
    return Answer(text=generate_latest(registry).decode(), headers={"Content-Type": MEDIA_TYPE})


class _Figures(Collector):
    def __init__(self, app: App) -> None:
        self._app = app

    def describe(self) -> list[Metric]:
        return []  # nothing is read before it is asked for

    def collect(self) -> Iterator[Metric]:
        if self._app.datastore.can_find:
            yield from _jobs(self._app)
        yield from _queues(self._app)
        yield from _workers(self._app)
        yield from _counters(self._app)


def _jobs(app: App) -> Iterator[Metric]:
    ended = TERMINAL if app.datastore.can_find_ended else ()
    counts = {status: app.count(status=status) for status in (*UNFINISHED, *ended)}
    numbers = {(status,): count.number for status, count in counts.items()}
    capped = {(status,): int(count.is_capped) for status, count in counts.items()}
    yield _gauge("jobs", "Jobs that are kept, up to 10,000 of each status", ("status",), numbers)
    yield _gauge("jobs_capped", "1 of a status with more jobs than are counted", ("status",), capped)
    jobs, versions, too_new = Counter[tuple[str, ...]](), Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    known, now = dict(app.registry.versions()), app.clock.now()
    oldest: dict[tuple[str, ...], float] = {}
    stalled, sampled = 0, dict[tuple[str, ...], int]()
    for status in UNFINISHED:
        heads = _sample(app, status)
        sampled[status,] = int(counts[status].number > len(heads))
        for head in heads:
            job_type, queue, version = str(head.get("jobType")), str(head.get("queueName")), head.get("schemaVersion")
            jobs[job_type, queue, status] += 1
            versions[job_type, str(version)] += 1
            if isinstance(version, (int, float)) and version > known.get(job_type, version):
                too_new[job_type,] += 1
            stalled += is_stalled(head, now)
            if status == QUEUED:
                with suppress(TypeError, ValueError):  # a damaged time
                    waited = (now - from_text(head.get("queuedAt") or head["createdAt"])).total_seconds()
                    oldest[queue,] = max(oldest.get((queue,), 0.0), waited)
    yield _gauge("sample_capped", "1 of a status with more jobs than the sample has", ("status",), sampled)
    yield _gauge("sample_jobs", "Jobs of the sample", ("type", "queue", "status"), jobs)
    yield _gauge("sample_documents", "Jobs of the sample, by stored version", ("type", "schema_version"), versions)
    yield _gauge("oldest_waiting_seconds", "How long the oldest queued job has waited", ("queue",), oldest, combine=max)
    yield _gauge("jobs_too_new", "Jobs of the sample that are newer than this process's code", ("type",), too_new)
    yield GaugeMetricFamily("zerog_stalled_jobs", "Running jobs without a write for their STALLED_AFTER", stalled)


def _sample(app: App, status: str) -> list[Document]:
    """Return the heads of the oldest and of the newest jobs of a status: all, if there are not many.

    The oldest show how long jobs wait, the newest what a deploy has brought.
    """
    found = {
        str(head.get("uuid")): head
        for order in ORDERS
        for head in app.datastore.find(FindQuery(status, order=order, limit=SAMPLE)).heads
    }
    return list(found.values())


def _queues(app: App) -> Iterator[Metric]:
    queues = app.fleet.queues()
    for name, text in (
        ("waiting", "Jobs that wait on a queue and may start now"),
        ("scheduled", "Jobs of a queue that may not start yet, of the first 500 of all queues"),
    ):
        numbers = {(queue["name"],): queue[name] for queue in queues if queue[name] is not None}
        yield _gauge(f"queue_{name}", text, ("queue",), numbers)


def _workers(app: App) -> Iterator[Metric]:
    workers = app.workers()
    up = {(worker["name"], str(worker["build"] or "")): int(worker["state"] != SILENT) for worker in workers}
    yield _gauge("worker_up", "1 of a worker whose lease runs, 0 of a silent one", ("worker", "build"), up, 1_000)
    slots: dict[tuple[str, ...], float] = {}
    for worker in workers:
        busy, config = worker["jobs"], worker["config"]
        total = config.get("concurrency") if isinstance(config, dict) else None
        if type(busy) is int:
            slots[worker["name"], "busy"] = busy
            if type(total) is int:
                slots[worker["name"], "free"] = max(0, total - busy)
    yield _gauge("slots", "Slots of a worker", ("worker", "state"), slots, 2_000)
    paused = {(queue,): 1 for queue in app.fleet.paused()}
    yield _gauge("queue_paused", "1 of a queue that is paused", ("queue",), paused)


def _counters(app: App) -> Iterator[Metric]:
    figures, _ = RetiredRates(app.engine).totals()
    runs = CounterMetricFamily("zerog_runs", "Runs that ended", labels=("type", "outcome"))
    took = SummaryMetricFamily("zerog_run_seconds", "Time of runs that ended", labels=("type",))
    waited = HistogramMetricFamily("zerog_wait_seconds", "Time until runs were claimed", labels=("type",))
    for job_type, outcomes in sorted(figures["types"].items()):
        for outcome, counts in sorted(outcomes.items()):
            runs.add_metric((job_type, outcome), counts[RUNS])
        sums = [sum(column) for column in zip(*outcomes.values(), strict=True)]
        took.add_metric((job_type,), sums[RUNS], sums[RAN] / 1_000)
        waited.add_metric((job_type,), _buckets(sums[CLASSES:]), sums[WAIT] / 1_000)
    yield from (runs, took, waited)
    for name, field, text in (
        ("lease_losses", "leaseLosses", "Times at which a worker could not renew its lease"),
        ("collisions", "collisions", "Writes made again after another change of the document"),
        ("repairs", "repairs", "Jobs that sweeps repaired"),
    ):
        yield CounterMetricFamily(f"zerog_{name}", text, figures[field])


def _buckets(classes: Iterable[int]) -> list[tuple[str, float]]:
    """Return cumulative counts by upper bound, as Prometheus has them."""
    total, buckets = 0.0, []
    for bound, number in zip((*map(str, WAITED), "+Inf"), classes, strict=True):
        total += number
        buckets.append((bound, total))
    return buckets


def _gauge(
    name: str,
    text: str,
    labels: tuple[str, ...],
    values: Any,
    most: int | None = None,
    combine: Callable[[float, float], float] = add,
) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(f"zerog_{name}", text, labels=labels)
    for key, value in _bounded(values, most or LABELS, combine):
        gauge.add_metric(key, value)
    return gauge


def _bounded(
    values: dict[tuple[str, ...], float], most: int, combine: Callable[[float, float], float]
) -> list[tuple[tuple[str, ...], float]]:
    """Return values by labels; of each label only the commonest values are kept, the rest is combined as ``other``."""
    if not values:
        return []
    kept = []
    for column in range(len(next(iter(values)))):
        sums = Counter[str]()
        for key, value in values.items():
            sums[key[column]] += value  # type: ignore[assignment]
        kept.append({name for name, _ in sums.most_common(most)})
    result: dict[tuple[str, ...], float] = {}
    for key, value in values.items():
        short = tuple(name if name in kept[column] else OTHER for column, name in enumerate(key))
        result[short] = combine(result.get(short, 0), value)
    return sorted(result.items())
