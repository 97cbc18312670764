"""The faults of the implementation before this one, and for each the tests that would see it come back.

``FAULTS`` names every fault that concerns the core: U1 to U36 as the study of its reliability numbers them, C1 to C16
as the list of its capabilities does. A test that lives beside the part it tests is named by the function itself, so
that it can't be renamed or removed unnoticed; the others are here. Web pages and message brokers have their own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import zerog
from tests import test_doctor, test_faults, test_registry
from tests.acceptance import test_recovery, test_signals, test_supervisor, test_ways_out
from tests.acceptance.harness import Workers
from tests.engines import test_crash_points, test_figures, test_hard_cases, test_late
from tests.jobs import test_document, test_enqueue, test_history, test_progress, test_saving
from tests.jobs.kit import InterferingStore, declared
from tests.queues import test_sqlite as test_sqlite_queue
from tests.worker import test_ends, test_execute, test_run_writes, test_worker
from tests.worker.kit import finished, raising
from zerog import crashpoints
from zerog.crashpoints import InjectedFailure
from zerog.document import make_key
from zerog.exceptions import JobNotFound, QueueUnavailable, ReservationLost, TooManyCollisions
from zerog.lifecycle import Engine
from zerog.queues.memory import MemoryQueue
from zerog.reconcile import Reconciler
from zerog.testing.clock import ManualClock
from zerog.testing.engine_contract import EngineContract
from zerog.transitions import Claim, Settlement, Worker

ALICE, BOB = Worker("alice", 30.0), Worker("bob", 30.0)


class Plain(zerog.BaseJob):
    JOB_TYPE = "plain"

    def run(self) -> Any:
        return {"run": self.attempts}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> Iterator[zerog.App]:
    made = zerog.App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db", clock=clock)
    made.register(Plain)
    yield made
    crashpoints.disarm()
    made.close()


def claim(app: zerog.App, worker: Worker = ALICE) -> list[Claim]:
    return app.engine.claim(10, worker, app.registry.accept)


def finish(app: zerog.App, mine: Claim, code: int = 200) -> bool:
    return app.engine.settle([Settlement(mine, "finish", 1, code)])[0]


def sweeps(app: zerog.App, seconds: float) -> None:
    """What a healthy worker's reconciler does in that time."""
    assert isinstance(app.clock, ManualClock)
    reconciler = Reconciler(app.engine, "healthy", app.clock)
    for _ in range(int(seconds / 10) + 1):
        reconciler.sweep()
        app.clock.advance(10)


# a job or its result is lost


@pytest.mark.parametrize("point", ["settle.write", "settle.written", "settle.put", "settle.mark"])
def test_a_worker_dies_between_the_outcome_of_a_run_and_the_queue(point: str, app: zerog.App) -> None:
    """The entry is gone from the queue since the claim, the job wanted to go on: the document knows, and it does."""
    uuid = app.submit("plain").uuid
    [mine] = claim(app)
    assert app.queue.size() == 0
    crashpoints.arm(point, "raise")
    try:
        app.engine.settle([Settlement(mine, "requeue", 1)])
        crashpoints.disarm()  # an engine that does both in one transaction has no such place between them
    except InjectedFailure:
        sweeps(app, 50)
    assert [one.uuid for one in claim(app, BOB)] == [uuid]


def test_a_worker_dies_before_the_result_is_stored(app: zerog.App) -> None:
    """No entry and no result: it used to be -1 for ever; here the run is taken from the dead worker and repeated."""
    uuid = app.submit("plain").uuid
    [mine] = claim(app)
    crashpoints.arm("settle.write", "raise")
    with pytest.raises(InjectedFailure):
        finish(app, mine)
    sweeps(app, 50)
    [again] = claim(app, BOB)
    assert finish(app, again)
    assert (app.progress(uuid)["result"], app.get_job(uuid).lost) == (200, 1)


@pytest.mark.parametrize("answer", [None, 0, "", False, QueueUnavailable("no route")])
def test_a_queue_answers_nothing_of_use_to_a_put(
    answer: Any, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client heard "accepted" and nobody looked for the job; here it is found and runs, whatever was answered."""
    app = zerog.App("memory://", clock=clock)
    app.register(Plain)

    def put(*_args: object, **_kwargs: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with monkeypatch.context() as broken:
        broken.setattr(app.queue, "put", put)
        job = app.submit("plain")
    assert app.progress(job.uuid)["status"] == "queued"
    claim(app)
    sweeps(app, 60)
    assert [one.uuid for one in claim(app)] == [job.uuid]


# a job runs twice


def test_a_connection_is_lost_right_after_the_claim(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue gives the entry to a second worker, and refuses the first one's; the first one's result counts."""

    class Cut:
        def __init__(self, uuid: str) -> None:
            self.uuid = uuid

        def delete(self) -> None:
            raise ReservationLost("the connection was lost; the entry is somebody else's")

    engine = Engine(app.datastore, MemoryQueue(), app.clock)
    uuid = app.submit("plain").uuid
    with monkeypatch.context() as cut:
        cut.setattr(engine.queue, "reserve", lambda timeout: Cut(uuid))
        [mine] = engine.claim(1, ALICE, app.registry.accept)
    engine.queue.put(uuid)
    assert engine.claim(1, BOB, app.registry.accept) == []
    assert engine.settle([Settlement(mine, "finish", 1, 200)]) == [True]
    head = engine.read(uuid)[0]
    assert (head["resultCode"], head["attempts"], head["crashes"], head["lost"]) == (200, 1, 0, 0)


def test_a_put_whose_reply_is_lost_is_sent_again(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two entries of one job are one run."""
    app = zerog.App("memory://", clock=clock)
    app.register(Plain)
    put = app.queue.put

    def silent(*args: Any, **options: Any) -> Any:
        put(*args, **options)
        raise QueueUnavailable("timed out; nobody knows")

    with monkeypatch.context() as broken:
        broken.setattr(app.queue, "put", silent)
        uuid = app.submit("plain").uuid
    clock.advance(6)
    Reconciler(app.engine, "healthy", clock).sweep(False)
    assert app.queue.size() == 2
    [mine] = claim(app)
    assert claim(app, BOB) == []
    assert (mine.uuid, app.get_job(uuid).attempts, app.queue.size()) == (uuid, 1, 0)


# a job is stuck, or repeated without an end


def test_a_time_to_run_of_thirty_days_keeps_a_job_of_a_dead_worker(app: zerog.App) -> None:
    """Nobody got the job before the queue gave it back; here the worker's lease decides, and the queue does not."""
    job = Plain(app.datastore, app.queue)
    job.enqueue(ttr=30 * 86_400)
    assert len(claim(app)) == 1
    sweeps(app, 50)
    assert [one.uuid for one in claim(app, BOB)] == [job.uuid]


def test_a_replacement_dies_as_soon_as_it_is_there(tmp_path: Path) -> None:
    """Dead twice between two looks it seemed unchanged, and was never replaced."""
    with Workers(tmp_path, "--processes", "2", "--lease", "2") as w:
        w.start()
        seen: set[int] = set()

        def both_but_none_of_the_dead(dead: set[int]) -> set[int] | None:
            alive = set(test_supervisor.worker_pids(w)) - dead
            return alive if len(alive) == 2 else None

        dead: set[int] = set()
        for _ in range(2):
            alive = w.until(lambda: both_but_none_of_the_dead(dead))
            victim = min(alive - seen)
            seen |= alive
            os.kill(victim, signal.SIGKILL)
            dead.add(victim)
        w.until(lambda: both_but_none_of_the_dead(dead))
        assert w.app.wait(w.app.submit("square", {"number": 3}).uuid, 20).output == {"square": 9}


def test_a_new_worker_has_the_process_number_of_a_dead_one(app: zerog.App) -> None:
    """A process of that number was there, so the dead worker passed for alive; here no worker's name comes twice."""
    dead, successor = (zerog.Worker(app, name="host").name for _ in range(2))
    assert dead != successor and dead.split("-")[:2] == successor.split("-")[:2] == ["host", str(os.getpid())]
    uuid = app.submit("plain").uuid
    app.engine.renew(Worker(dead, 30.0), 1)
    claim(app, Worker(dead, 30.0))
    assert isinstance(app.clock, ManualClock)
    reconciler = Reconciler(app.engine, successor, app.clock)
    for beat in range(1, 6):
        app.engine.renew(Worker(successor, 30.0), beat)
        reconciler.sweep(False)
        app.clock.advance(10)
    assert [one.uuid for one in claim(app, Worker(successor, 30.0))] == [uuid]


@pytest.mark.parametrize(
    "body",
    [raising(zerog.WarningContinue("not yet")), lambda self: zerog.NO_RESULT, raising(SystemExit(3))],
    ids=["warning", "value", "exit"],
)
def test_a_job_runs_again_without_any_limit(body: Any) -> None:
    """Two hundred runs of two hundred; here each way to ask for another run is bounded, and the end says why."""
    job = finished(body, MAX_CONTINUES=5, MAX_ERRORS=5)
    assert (job.status, job.resultCode) == ("failed", 500)
    assert job.attempts <= 6
    assert any(word in job.errors[-1].msg for word in ("MAX_CONTINUES", "SystemExit: 3"))


# an error is hidden, an update is lost


@pytest.mark.parametrize("params", ["{not json", "", [], 5, b"{}"])
def test_malformed_parameters_become_an_empty_object(params: Any, app: zerog.App) -> None:
    """The job ran with its defaults; here it is refused and nothing is stored."""
    with pytest.raises(Exception, match="expected an object of parameters"):
        app.submit("plain", params)
    assert app.datastore.find().heads == []


def test_a_change_is_given_up_after_ten_collisions_and_kept_in_memory() -> None:
    """It looked stored; here it is, or the caller hears that it isn't."""
    job = declared(InterferingStore())
    job.save()
    job.datastore.times = 20
    job.update_attrs(offset=7)
    assert job.datastore.read(job.key())["offset"] == 7
    job.datastore.times = 10_000
    with pytest.raises(TooManyCollisions):
        job.record_change(lambda: setattr(job, "offset", 8))
    assert job.datastore.read(job.key())["offset"] == 7


def test_the_name_of_the_queue_is_never_set(app: zerog.App) -> None:
    """It was in the schema and empty; here it says where the job waits, and a repair goes by it."""
    uuid = app.submit("plain", queue="low").uuid
    assert app.get_job(uuid).queueName == app.datastore.read(make_key(uuid))["queueName"] == "low"
    entry = app.queue.named("low").reserve(0)
    assert entry is not None
    entry.delete()
    sweeps(app, 60)
    assert [one.uuid for one in app.engine.claim(1, ALICE, app.registry.accept, ["low"])] == [uuid]


def test_a_deleted_document_is_a_job_no_more(app: zerog.App) -> None:
    """A replacement that found nothing inserted it again; here neither its run's end nor a delivery brings it back."""
    uuid = app.submit("plain").uuid
    [mine] = claim(app)
    app.datastore.delete(make_key(uuid))
    assert not finish(app, mine)
    app.queue.put(uuid)
    sweeps(app, 60)
    assert claim(app, BOB) == []
    with pytest.raises(JobNotFound):
        app.get_job(uuid)


class Fault(NamedTuple):
    """What happened, and what would see it."""

    what: str
    tests: tuple[Callable[..., object], ...]


DIES_AFTER_RUN = test_a_worker_dies_between_the_outcome_of_a_run_and_the_queue
KILLED = test_crash_points.test_a_kill_at_any_point_is_repaired

FAULTS = {
    "U1": Fault("deletes the entry, then requeues", (DIES_AFTER_RUN, KILLED)),
    "U2": Fault("deletes the entry, then records the result", (test_a_worker_dies_before_the_result_is_stored, KILLED)),
    "U3": Fault(
        "gives a result up after ten collisions",
        (test_faults.test_a_result_is_given_up_after_ten_collisions,),
    ),
    "U4": Fault(
        "four failed loads delete the entry",
        (
            test_faults.test_a_job_whose_class_is_missing_is_deleted_after_some_tries,
            test_faults.test_a_job_of_newer_code_with_one_more_field_is_lost_on_an_older_worker,
            test_worker.test_an_outage_of_the_datastore_is_waited_out,
        ),
    ),
    "U5": Fault(
        "a job that raises ErrorFinish itself has no result",
        (test_execute.test_the_four_exceptions_may_be_raised_by_hand,),
    ),
    "U6": Fault(
        "nothing looks for a document that was saved and not put",
        (
            test_a_queue_answers_nothing_of_use_to_a_put,
            test_enqueue.test_a_queue_out_of_reach_is_no_error,
            EngineContract.test_a_pending_document_is_put_on_the_queue,
            KILLED,
        ),
    ),
    "U7": Fault("a queue without a log restarts empty", (test_faults.test_the_queue_forgets_everything,)),
    "U8": Fault("stores what it can't load", (test_faults.test_one_value_makes_a_document_unreadable_for_ever,)),
    "U9": Fault(
        "documents grow until nothing can be written",
        (test_faults.test_a_document_that_grows_without_bound_can_t_take_its_result,),
    ),
    "U10": Fault(
        "a client overwrites another job",
        (test_registry.test_a_client_sets_no_field_of_the_engine, EngineContract.test_a_uuid_is_submitted_once),
    ),
    "U11": Fault(
        "queued before the document exists",
        (test_enqueue.test_a_job_can_t_be_queued_without_a_document_of_its_own_by_a_token_from_outside,),
    ),
    "U12": Fault(
        "a lost connection starts a second run and drops the first one's result",
        (
            test_a_connection_is_lost_right_after_the_claim,
            test_faults.test_a_second_delivery_of_a_running_job_starts_it_again,
        ),
    ),
    "U13": Fault("two deliveries, two claims", (test_faults.test_two_workers_claim_one_job_at_the_same_moment,)),
    "U14": Fault("a put is repeated", (test_a_put_whose_reply_is_lost_is_sent_again,)),
    "U15": Fault(
        "a delivery after the end runs the job",
        (
            test_faults.test_a_delivery_after_the_end_runs_the_job_again,
            test_late.test_a_delivery_after_the_end_runs_nothing,
        ),
    ),
    "U16": Fault(
        "a killed job goes to others first",
        (test_faults.test_a_cancelled_run_is_given_to_another_worker_first,),
    ),
    "U17": Fault(
        "a result is overwritten by a stale one",
        (
            test_faults.test_a_result_is_overwritten_by_a_late_one,
            test_late.test_a_run_that_is_late_at_its_end_changes_nothing,
        ),
    ),
    "U18": Fault(
        "a reload applies an old value again",
        (
            test_progress.test_two_holders_who_add_add_both,
            test_history.test_two_holders_lose_neither_error_nor_event,
        ),
    ),
    "U19": Fault(
        "a reload takes what was not saved",
        (test_saving.test_reload_keeps_the_keepalive_and_attributes_outside_the_schema,),
    ),
    "U20": Fault(
        "a deleted document comes back",
        (
            test_a_deleted_document_is_a_job_no_more,
            test_saving.test_reload_of_a_deleted_document_says_so_and_no_write_brings_it_back,
        ),
    ),
    "U21": Fault(
        "a write without an answer is applied twice",
        (
            test_run_writes.test_a_write_whose_answer_was_lost_is_applied_once,
            test_figures.test_no_write_without_an_answer_is_applied_twice_or_never,
        ),
    ),
    "U22": Fault(
        "ticks are counted twice, a failure fills the bar",
        (
            test_progress.test_a_requeued_run_s_ticks_are_counted_once,
            test_progress.test_only_success_fills_the_bar,
            EngineContract.test_a_failed_job_keeps_its_completeness,
        ),
    ),
    "U23": Fault(
        "a requeue forgets priority and time to run",
        (test_faults.test_a_requeue_forgets_priority_and_time_to_run,),
    ),
    "U24": Fault(
        "a time to run of 30 days keeps the job of a dead worker",
        (
            test_a_time_to_run_of_thirty_days_keeps_a_job_of_a_dead_worker,
            test_recovery.test_every_process_of_the_only_worker_is_killed,
            test_ways_out.test_a_stopped_worker_that_comes_back_changes_nothing,
        ),
    ),
    "U25": Fault("running stays true", (test_faults.test_a_finished_job_still_shows_as_running,)),
    "U26": Fault(
        "a worker that dies twice is never replaced",
        (
            test_a_replacement_dies_as_soon_as_it_is_there,
            test_supervisor.test_a_crash_loop_is_told_and_ends,
            test_doctor.test_jobs_without_a_worker_need_somebody_to_start_one,
        ),
    ),
    "U27": Fault(
        "a malformed entry kills every worker",
        (test_faults.test_a_malformed_entry_kills_one_worker_after_the_other,),
    ),
    "U28": Fault(
        "a recycled process number counts as alive",
        (
            test_a_new_worker_has_the_process_number_of_a_dead_one,
            test_supervisor.test_workers_notice_that_their_supervisor_is_gone,
            test_ways_out.test_children_go_when_their_worker_is_killed,
        ),
    ),
    "U29": Fault("requeues without a limit", (test_a_job_runs_again_without_any_limit,)),
    "U30": Fault("any text is a success", (test_execute.test_any_other_value_is_a_failure_that_names_it,)),
    "U31": Fault(
        "sys.exit in a job is no error",
        (
            test_a_job_runs_again_without_any_limit,
            test_execute.test_an_exception_is_recorded_counted_and_tried_again,
        ),
    ),
    "U32": Fault(
        "the reason of a failed load is lost",
        (test_faults.test_the_reason_why_a_job_is_not_run_is_told_only_after_some_tries,),
    ),
    "U33": Fault(
        "three deploys fail a job",
        (
            test_faults.test_deploys_count_as_crashes_of_the_job,
            test_signals.test_a_storm_of_sigterm_ends_as_one_does,
        ),
    ),
    "U34": Fault("malformed parameters become defaults", (test_malformed_parameters_become_an_empty_object,)),
    "U35": Fault(
        "an error while recording an error hides both",
        (
            test_ends.test_a_hook_that_fails_does_not_hide_the_end,
            test_faults.test_a_failing_job_leaves_a_trace_of_each_try,
            test_hard_cases.test_a_settlement_without_any_answer_is_an_error,
        ),
    ),
    "U36": Fault(
        "what can't be decoded is delivered for ever",
        (
            test_sqlite_queue.test_bodies_of_any_type_are_set_aside,
            test_faults.test_a_malformed_entry_kills_one_worker_after_the_other,
        ),
    ),
    "C1": Fault(
        "a job with an unknown field is lost",
        (test_faults.test_a_job_of_newer_code_with_one_more_field_is_lost_on_an_older_worker,),
    ),
    "C2": Fault("of two additions one is lost", (test_progress.test_two_holders_who_add_add_both,)),
    "C3": Fault("of two errors one is counted", (test_history.test_two_holders_lose_neither_error_nor_event,)),
    "C4": Fault("ticks are counted twice", (test_progress.test_a_reload_counts_each_tick_once,)),
    "C5": Fault(
        "a reload loses the keepalive",
        (test_saving.test_reload_keeps_the_keepalive_and_attributes_outside_the_schema,),
    ),
    "C6": Fault(
        "a change that was given up looks stored",
        (
            test_a_change_is_given_up_after_ten_collisions_and_kept_in_memory,
            test_saving.test_record_change_raises_rather_than_giving_up_quietly,
        ),
    ),
    "C7": Fault("each event writes all events", (test_faults.test_a_long_history_makes_each_write_longer,)),
    "C8": Fault("a client forges a result", (test_registry.test_a_client_sets_no_field_of_the_engine,)),
    "C9": Fault(
        "a second class replaces the first",
        (test_registry.test_two_classes_of_one_type_are_refused_naming_both_and_nothing_is_registered,),
    ),
    "C10": Fault(
        "WarningContinue for ever",
        (test_a_job_runs_again_without_any_limit, test_ends.test_a_job_that_asks_to_run_again_for_ever_ends),
    ),
    "C11": Fault(
        "True is 1, a dict is thrown away",
        (
            test_execute.test_any_other_value_is_a_failure_that_names_it,
            test_execute.test_values_that_end_a_job,
        ),
    ),
    "C12": Fault("a failed job is complete", (test_progress.test_only_success_fills_the_bar,)),
    "C13": Fault(
        "queueName is never set, schemaVersion is text or a number",
        (
            test_the_name_of_the_queue_is_never_set,
            test_document.test_the_schema_version_is_a_number_in_the_document_and_text_or_number_elsewhere,
        ),
    ),
    "C14": Fault("deletes the message, then enqueues the next", (DIES_AFTER_RUN, KILLED)),
    "C15": Fault("saves, then puts, and nobody looks", (test_a_queue_answers_nothing_of_use_to_a_put, KILLED)),
    "C16": Fault(
        "a hung machine holds a job",
        (
            test_a_time_to_run_of_thirty_days_keeps_a_job_of_a_dead_worker,
            EngineContract.test_the_jobs_of_a_silent_worker_are_rescued,
        ),
    ),
}


def test_every_fault_of_the_core_is_in_the_table() -> None:
    assert list(FAULTS) == [f"U{number}" for number in range(1, 37)] + [f"C{number}" for number in range(1, 17)]


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_has_tests_that_each_run_takes(name: str) -> None:
    """A fault without a test fails here, and so does one whose tests are left to the nights."""
    tests = FAULTS[name].tests
    assert tests
    for test in tests:
        assert test.__name__.startswith("test_")
        marks = {mark.name for mark in getattr(test, "pytestmark", [])}
        assert not marks & {"slow", "long", "skip", "xfail"}, f"{test.__qualname__} is not run each time"
