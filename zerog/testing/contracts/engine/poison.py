"""Rules of engines: a damaged document or record affects only itself.

Every field is written with every wrong kind of value, into documents that wait, run and have ended and into the
engine's own records. Nothing raises, and the jobs beside the damaged ones run, are rescued and are removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from zerog.contracts.datastore import RunGuard
from zerog.engine.engine import Engine
from zerog.engine.transitions import Settlement, WorkerIdentity
from zerog.exceptions import CasMismatch, CorruptDocument, InvalidValue, SchemaTooNew, ZerogError
from zerog.fleet.fleet import Fleet
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.kept import Keep
from zerog.maintenance.losses import bury, take_back
from zerog.maintenance.reconcile import Reconciler, Report
from zerog.records.fields import COUNTS, HISTORY, STAMPS
from zerog.records.job import RUNNING, WAITING, check_head, make_key
from zerog.records.keys import QUEUES, SWEEPER, WORKERS, worker_key
from zerog.records.operations import Set, dropped_field
from zerog.support.clock import to_text
from zerog.testing.contracts.engine.builders import ALICE, BOB, EngineRules
from zerog.worker.control import CommandPoller

GONE = WorkerIdentity("gone", 30.0)


def nested(levels: int) -> list[Any]:
    """Return a list in a list in a list."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    0.5,
    1.7e308,
    "",
    "x",
    "\0",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999+00:00",
    "x" * 10_000,
    [],
    ["a", {}, None],
    nested(60),
    {},
    {"ttr": "x", "worker": [], "lease": 1e308},
    {"ttr": 2**63 - 1, "worker": "", "nonce": 1},
)
"""A value of each kind; each is wrong in some fields. Values that a datastore refuses are left out."""

FIELDS = {
    "identity": ("documentType", "uuid", "jobType", "schemaVersion", "status", "logId", "cas"),
    "counts": (*COUNTS, *map(dropped_field, HISTORY)),
    "time": STAMPS,
    "queue": ("queueName", "queueKwargs", "queueState", "queueJobId", "priority"),
    "run": ("owner", "run", "maxEvents", "running", "resultCode", "completeness", "tickcount", "tickval"),
    "limits": ("maxErrors", "softTimeout", "hardTimeout"),
    "content": (*HISTORY, "lastError", "output", "headers"),
}
"""All fields of a document, in groups."""

OWNERS = ("worker", "nonce", "lease", "build")
RECORD = (
    *("beat", "lease", "renewedAt", "startedAt", "host", "pid", "build", "executor", "state", "queues"),
    *("jobs", "memory", "uuids", "drain", "cancels", "config", "held", "claiming", "knows", dropped_field("cancels")),
)


class PoisonRules(EngineRules):
    """Rules for damaged documents and records, which stop nothing else."""

    sampling = 1
    """One of so many wrong values is written: for slow servers, and for queues each take of which needs many sweeps."""

    @pytest.mark.parametrize("group", [*FIELDS, "owner"])
    def test_a_damaged_document_is_only_about_itself(self, engine: Engine, group: str) -> None:
        """Jobs before and behind it run, those of a dead worker are rescued, old ones are removed; it is named."""
        dead = self.claimed(engine, GONE)
        first = self.submitted(engine)
        planted = [
            uuid for field, value in _wrong(group)[:: self.sampling] for uuid in self._plant(engine, field, value)
        ]
        last = self.submitted(engine)
        settled = self._run_all(engine)
        assert {first, last} <= settled
        reconciler = Reconciler(engine, "sweeper", engine.clock, kept=lambda: {"succeeded": {"test": Keep(20, 1.0)}})
        report = Report()
        for _ in range(4):
            self.pass_time(engine, 31)
            report = reconciler.sweep()
            settled |= self._run_all(engine)
        assert dead.uuid in settled
        if engine.datastore.can_delete and engine.datastore.can_find_ended:
            assert engine.datastore.read(make_key(first)) is None
        assert {uuid for uuid in planted if self._is_unreadable(engine, uuid)} <= report.stuck.keys()

    @pytest.mark.parametrize("group", [*FIELDS, "owner"])
    def test_verbs_on_a_damaged_document_raise_what_they_document(self, engine: Engine, group: str) -> None:
        """So a command over many jobs reports one of them and continues."""
        dead = self.claimed(engine, GONE)
        for field, value in _wrong(group)[::3]:
            for uuid in self._plant(engine, field, value):
                with suppress(ZerogError):
                    take_back(engine, uuid, "the run", "its worker is back")
        assert dead.uuid in bury(engine, "gone", was_stopping=False)
        for field, value in _wrong(group)[:: self.sampling]:
            for uuid in self._plant(engine, field, value):
                for verb in (engine.cancel, engine.retry, engine.discard, engine.enqueue):
                    with suppress(ZerogError):
                        verb(uuid)
                with suppress(ZerogError):
                    run = RunGuard.of(engine.datastore.read_with_cas(make_key(uuid), head=True)[0] or {})
                    engine.rescue(uuid, run, "lost", "its worker is gone")
                    engine.release(uuid, run, "it has to end")

    damages: Sequence[Any] = ()
    """Ways to damage a stored value, in terms of ``damage``."""

    def damage(self, engine: Engine, key: str, how: Any) -> None:
        """Damage a stored document in the datastore's own form. Override it with ``damages``."""
        raise NotImplementedError

    def test_a_document_that_cannot_be_decoded_is_only_about_itself(self, engine: Engine) -> None:
        """The same for documents and records that a disk or a tool has damaged below the datastore's verbs."""
        if not self.damages:
            pytest.skip("no way to damage a document of this datastore is known")
        dead, living = self.claimed(engine, GONE), self.claimed(engine, BOB)
        reconciler = Reconciler(engine, "sweeper", engine.clock, kept=lambda: {"succeeded": {"test": Keep(20, 1.0)}})
        control = CommandPoller(engine.datastore, "bob", lambda _orders: None, engine.clock)
        for beat, how in enumerate(self.damages, 1):
            for key in (WORKERS, SWEEPER, QUEUES, worker_key("bob")):
                with suppress(CasMismatch, engine.datastore.casException):
                    engine.datastore.create(key, {"documentType": key})
                self.damage(engine, key, how)
            self._look_at_the_fleet(engine)
            Fleet(engine).pause("default")
            control.turn()  # as the worker does each second
            WorkerRecords(engine).renew(BOB, beat)
            reconciler.turn()
            self.pass_time(engine, 11)
        first = self.submitted(engine)
        for how in self.damages:
            for uuid in self._plant(engine, "output", None):
                self.damage(engine, make_key(uuid), how)
                for verb in (engine.cancel, engine.retry, engine.discard, engine.enqueue):
                    with suppress(ZerogError):
                        verb(uuid)
        last = self.submitted(engine)
        assert {first, last, dead.uuid} <= self._run_all(engine)
        reconciler.sweep()
        assert self.head(engine, living.uuid)["owner"]["worker"] == "bob"

    def test_a_damaged_record_is_only_about_itself(self, engine: Engine) -> None:
        """The jobs of silent workers are rescued whatever their records hold; so are those of sound records."""
        records = [{}, *({field: "x"} for field in RECORD), *(dict.fromkeys(RECORD, value) for value in WRONG)]
        owned = []
        for number, fields in enumerate(records[:: self.sampling]):
            worker = WorkerIdentity(f"worker-{number}", 30.0)
            WorkerRecords(engine).renew(worker, 1)
            with suppress(InvalidValue):  # values that no program can store there
                engine.datastore.mutate(worker_key(worker.name), [Set(*field) for field in fields.items()])
            owned.append(self.claimed(engine, worker).uuid)
            if number % 2:
                engine.cancel(owned[-1])
        self._look_at_the_fleet(engine)
        reconciler = Reconciler(engine, "sweeper", engine.clock)
        for _ in range(4):
            reconciler.sweep()
            self.pass_time(engine, 31)
        assert {self.head(engine, uuid)["status"] for uuid in owned} == {"queued", "cancelled"}
        assert WorkerRecords(engine).directory() == {}

    @pytest.mark.parametrize("key", [WORKERS, SWEEPER, QUEUES])
    def test_damaged_documents_of_the_engine_stop_nothing(self, engine: Engine, key: str) -> None:
        """Neither a sweep nor a worker's beat nor an operator; damaged documents are made anew."""
        for field in ("workers", "worker", "beat", "paused", "documentType"):
            for value in (*WRONG[:: self.sampling], {"": 1, "x": WRONG[3], "y\n": {}, "z" * 300: {"lease": 1e308}}):
                engine.datastore.set(key, {"documentType": key, field: value})
                reconciler = Reconciler(engine, "sweeper", engine.clock)
                reconciler.turn()
                self.pass_time(engine, 3 * reconciler.interval)
                assert reconciler.turn() is not None or not engine.datastore.can_find
                reconciler.release()
                WorkerRecords(engine).renew(ALICE, 1)
                self._look_at_the_fleet(engine)
                assert Fleet(engine).pause("default")
                assert "default" in Fleet(engine).paused()
                assert Fleet(engine).resume("default")
                WorkerRecords(engine).forget(ALICE.name)

    def test_a_living_worker_heals_its_record(self, engine: Engine) -> None:
        """Its next beat writes its own fields; other fields count as absent."""
        WorkerRecords(engine).renew(ALICE, 1)
        for value in WRONG:
            fields = {"documentType": "zerog_worker", "beat": value, "lease": value, "drain": value, "queues": value}
            engine.datastore.set(worker_key("alice"), fields)
            WorkerRecords(engine).renew(ALICE, 2, lambda: {"state": "running"})
            [worker] = Fleet(engine).workers()
            assert (worker["name"], worker["lease"]) == ("alice", 30.0)

    def _look_at_the_fleet(self, engine: Engine) -> None:
        fleet = Fleet(engine)
        fleet.queues()
        assert all(type(worker["name"]) is str for worker in fleet.workers())
        for worker in fleet.drain(everyone=True):
            assert worker["drain"] is not None
        fleet.undrain(everyone=True)

    def _plant(self, engine: Engine, field: str, value: Any) -> list[str]:
        """Store a waiting, a running and an ended document, each with that value; return their uuids."""
        now = to_text(engine.clock.now())
        waits = {"status": "queued", "queueState": "queued", "queuedAt": now}
        runs = {"status": "running", "running": True, "epoch": 1, "owner": GONE.as_owner("the run"), "startedAt": now}
        ended = {"status": "succeeded", "finishedAt": now, "resultCode": 200}
        planted = []
        for state in (waits, runs, ended):
            document = self.new(engine, **state)
            uuid = document["uuid"]
            if field.startswith("owner."):
                owner = {**GONE.as_owner("the run"), field.removeprefix("owner."): value}
                document |= {"owner": owner if state is runs else None}
            else:
                document[field] = value
            with suppress(InvalidValue):  # the datastore refuses such a value, or a document of that size
                engine.datastore.create(make_key(uuid), document)
                planted.append(uuid)
                engine.queue.put(uuid)
        return planted

    def _is_unreadable(self, engine: Engine, uuid: str) -> bool:
        """Return True if an unfinished document that a sweep can find under its uuid is corrupt."""
        head = engine.datastore.read_with_cas(make_key(uuid), head=True)[0]
        if head is None or head.get("uuid") != uuid or head.get("status") not in (*WAITING, RUNNING):
            return False
        try:
            check_head(make_key(uuid), head)
        except (CorruptDocument, SchemaTooNew):
            return True
        return False

    def _run_all(self, engine: Engine) -> set[str]:
        """Claim all that can be claimed, and end it; every claim can be settled."""
        done: set[str] = set()
        while claims := self.claim_all(engine, ALICE):
            results = engine.settle([Settlement(claim, "finish", claim.seq + 1, 200) for claim in claims])
            assert all(results)
            done |= {claim.uuid for claim in claims}
        return done


def _wrong(group: str) -> list[tuple[str, Any]]:
    fields = [f"owner.{field}" for field in OWNERS] if group == "owner" else FIELDS[group]
    return [(field, value) for field in fields for value in WRONG]
