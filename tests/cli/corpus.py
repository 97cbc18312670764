"""The corpus of hostile texts in everything that commands and pages show."""

from __future__ import annotations

from tests.cli.builders import Shop
from tests.hostile import FIELDS, NAMES, TEXTS
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.job import make_key
from zerog.records.keys import schedule_key, worker_key
from zerog.records.operations import Append, Set


def filled(shop: Shop) -> dict[str, list[str]]:
    """Put jobs, workers, queues and schedules full of the corpus there; return the uuids of jobs by their state."""
    texts = list(TEXTS.values())
    for number, name in enumerate(NAMES):
        record = {"queues": [name], "host": texts[number], "build": texts[number], "pid": 1}
        WorkerRecords(shop.app.engine).renew(WorkerIdentity(name, 30.0), 1, lambda record=record: record)
        shop.submitted(queue=name)
        shop.app.fleet.pause(name, texts[number][:500], texts[-number - 1][:500])
    hostile = shop.app.schedule_definition("0 3 * * *", "word_count", {"path": texts[0]})
    for name in ("a", "b"):
        shop.app.schedules.add(name, hostile, texts[1])
        shop.app.schedules.pause(name, texts[2], texts[3])
    shop.app.datastore.mutate(schedule_key("b"), [Set("noted", texts[4])])
    damaged = []
    for number, text in enumerate(texts):
        name = f"record-{number}"
        WorkerRecords(shop.app.engine).renew(WorkerIdentity(name, 30.0), 1, lambda text=text: {"host": text})
        fields = ("build", "executor", "queues", "state", "pid", "lease", "renewedAt")
        shop.app.datastore.mutate(worker_key(name), [Set(field, text) for field in fields])
    for field, values in FIELDS.items():
        for value in values:
            damaged.append(shop.submitted())
            shop.app.datastore.mutate(make_key(damaged[-1]), [Set(field, value)])
    ended = shop.ended(500)
    for text in texts:
        entry = {"timestamp": "2026-01-01T00:00:00+00:00", "msg": text, "traceback": text, "errorCode": 500}
        shop.app.datastore.mutate(make_key(ended), [Append("events", entry), Append("errors", entry), Set(text, text)])
    shop.app.datastore.mutate(make_key(ended), [Set("jobType", "[/red] \x1b[2J")])
    scheduled, running = shop.submitted(delay=60), shop.running()
    return {"ended": [ended], "waiting": [scheduled], "running": [running], "damaged": damaged}
