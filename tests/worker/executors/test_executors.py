"""Every way out of a run, with plain and asynchronous jobs, in threads and in an event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.builders import Body, Running
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import Cancelled, ClaimLost
from zerog.jobs.document import document_of

FORMS = [("thread", "def"), ("thread", "async def"), ("async", "def"), ("async", "async def")]


@pytest.fixture(params=FORMS, ids=lambda form: f"{form[0]}: {form[1]}")
def form(request: pytest.FixtureRequest) -> tuple[str, str]:
    executor, kind = request.param
    return executor, kind


class Bed:
    """One app, and workers of one executor for jobs of one kind."""

    def __init__(self, executor: str, kind: str) -> None:
        self.app = zerog.App("memory://")
        self.executor = executor
        self.kind = kind
        self.go = threading.Event()
        """Lets jobs that wait for it end."""

    def job(self, body: Body, **attributes: Any) -> str:
        """Submit a job whose run() is ``body``, as this kind of function; return its uuid."""

        async def awaited(job: Any) -> Any:
            await asyncio.sleep(0)
            result = body(job)
            return await result if inspect.isawaitable(result) else result

        run = awaited if self.kind == "async def" else body
        self.app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": run, **attributes}))
        return self.app.submit("made").uuid

    def run(self, body: Body, **attributes: Any) -> dict[str, Any]:
        """Run a job as often as it is ready; return its document."""
        uuid = self.job(body, **attributes)
        zerog.Worker(self.app, executor=self.executor).run(burst=True)
        return self.document(uuid)

    def document(self, uuid: str) -> dict[str, Any]:
        document = self.app.datastore.read(f"zerog_job_{uuid}")
        assert document is not None
        return dict(document)


@pytest.fixture
def bed(form: tuple[str, str]) -> Iterator[Bed]:
    made = Bed(*form)
    yield made
    made.go.set()


def throw(error: Callable[[], BaseException]) -> Body:
    def run(job: Any) -> Any:
        raise error()

    return run


# value


@pytest.mark.parametrize(
    ("value", "code", "output", "status"),
    [
        (None, 200, None, "succeeded"),
        (404, 404, None, "failed"),
        ({"n": 1}, 200, {"n": 1}, "succeeded"),
        ("text", 500, None, "failed"),
    ],
)
def test_a_value_ends_the_job(bed: Bed, value: Any, code: int, output: Any, status: str) -> None:
    head = bed.run(lambda job: value)
    assert (head["resultCode"], head["output"], head["status"]) == (code, output, status)


def test_no_result_runs_again(bed: Bed) -> None:
    head = bed.run(lambda job: zerog.NO_RESULT if job.attempts < 3 else 200)
    assert (head["status"], head["attempts"], head["continues"]) == ("succeeded", 3, 2)


def test_no_result_with_a_delay_runs_again_later(bed: Bed) -> None:
    head = bed.run(lambda job: (zerog.NO_RESULT, 60))
    assert (head["status"], head["attempts"], head["continues"]) == ("scheduled", 1, 1)


# continue, finish, exception


@pytest.mark.parametrize(
    ("raised", "status", "code", "errors", "warnings"),
    [
        (lambda: zerog.ErrorContinue("x", delay=60), "scheduled", -1, 1, 0),
        (lambda: zerog.WarningContinue("x", delay=60), "scheduled", -1, 0, 1),
        (lambda: zerog.ErrorFinish("x", code=404), "failed", 404, 1, 0),
        (lambda: zerog.WarningFinish("x", code=206), "succeeded", 206, 0, 1),
        (lambda: ValueError("x"), "scheduled", -1, 1, 0),
        (lambda: KeyError("x"), "failed", 500, 1, 0),
        (lambda: SystemExit("x"), "scheduled", -1, 1, 0),
        (lambda: KeyboardInterrupt("x"), "scheduled", -1, 1, 0),
        (lambda: GeneratorExit("x"), "scheduled", -1, 1, 0),
        (lambda: asyncio.CancelledError("x"), "scheduled", -1, 1, 0),
        (lambda: TimeoutError("x"), "scheduled", -1, 1, 0),
        (lambda: ExceptionGroup("x", [ValueError("a"), ValueError("b")]), "scheduled", -1, 1, 0),
        (lambda: ExceptionGroup("x", [KeyError("a"), ValueError("b")]), "failed", 500, 1, 0),
        (lambda: ExceptionGroup("x", [zerog.ErrorFinish("x", code=404)]), "failed", 404, 1, 0),
        (lambda: ExceptionGroup("x", [zerog.WarningFinish("x", code=206)]), "succeeded", 206, 0, 1),
        (lambda: ExceptionGroup("x", [ValueError("a"), zerog.WarningFinish("x")]), "scheduled", -1, 1, 0),
    ],
    ids=lambda value: repr(value()) if callable(value) else None,
)
def test_what_a_job_raises_is_recorded_under_its_branch(
    bed: Bed, raised: Callable[[], BaseException], status: str, code: int, errors: int, warnings: int
) -> None:
    head = bed.run(throw(raised), FINISH_ON=(KeyError,))
    assert (head["status"], head["resultCode"], head["attempts"]) == (status, code, 1)
    assert (len(head["errors"]), len(head["warnings"]), head["errorCount"]) == (errors, warnings, errors)
    assert (head["crashes"], head["lost"]) == (0, 0)


def test_an_init_that_fails_is_an_error_of_the_job(bed: Bed) -> None:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        zerog.BaseJob.__init__(self, *args, **kwargs)
        if self.epoch:
            raise ValueError("no")

    head = bed.run(lambda job: 200, __init__=init, MAX_ERRORS=1)
    assert (head["status"], head["errorCount"]) == ("failed", 1)


# cancelled


@pytest.mark.parametrize("call", ["record_event", "tick"])
def test_a_cancel_reaches_a_running_job_at_its_next_write_or_tick(bed: Bed, call: str) -> None:
    def run(job: Any) -> Any:
        bed.app.cancel(job.uuid)
        job.set_tick_value(0.5) if call == "tick" else None
        job.tick() if call == "tick" else job.record_event("x")
        pytest.fail("it went on")

    head = bed.run(run)
    assert (head["status"], head["resultCode"]) == ("cancelled", 410)
    assert head["errors"] == []


def test_a_cancel_within_an_exception_group_is_a_cancel(bed: Bed) -> None:
    head = bed.run(throw(lambda: BaseExceptionGroup("x", [ValueError("y"), Cancelled("z")])))
    assert (head["status"], head["errors"]) == ("cancelled", [])


# claim lost


@pytest.mark.parametrize("hidden", [False, True])
def test_a_run_that_lost_its_claim_is_given_up_and_runs_again(bed: Bed, hidden: bool) -> None:
    def run(job: Any) -> Any:
        if job.attempts > 1:
            return 200
        document_of(job).run.revoke("the lease is over")
        try:
            job.record_event("too late")
        except ClaimLost:
            if not hidden:
                raise
        return 418

    uuid = bed.job(run)
    stats = zerog.Worker(bed.app, executor=bed.executor).run(burst=True)
    head = bed.document(uuid)
    assert (head["status"], head["resultCode"], head["lost"], head["attempts"]) == ("succeeded", 200, 1, 2)
    assert stats.ran == 2
    assert "could not keep the claim" in head["errors"][0]["msg"]


# shutdown


def test_a_job_that_sees_stopping_is_released_uncounted(bed: Bed) -> None:
    began = threading.Event()

    def spin(job: Any) -> Any:
        began.set()
        while not job.stopping:
            bed.go.wait(0.005)
        return zerog.NO_RESULT

    async def wait(job: Any) -> Any:
        began.set()
        while not job.stopping:
            await asyncio.sleep(0.005)
        return zerog.NO_RESULT

    uuid = bed.job(wait if bed.kind == "async def" else spin)
    with Running(bed.app, executor=bed.executor) as running:
        assert began.wait(20)
    head = bed.document(uuid)
    assert (head["status"], head["attempts"], head["continues"]) == ("queued", 0, 0)
    assert running.stats is not None
    assert running.stats.released == 1


def test_a_job_that_does_not_stop_is_released_uncounted_after_the_grace(bed: Bed) -> None:
    """Even one that blocks; the worker doesn't wait for it, and it writes nothing any more."""
    began, over = threading.Event(), threading.Event()
    late: list[BaseException] = []

    def deaf(job: Any) -> Any:
        began.set()
        bed.go.wait(30)
        try:
            job.record_event("too late")
        except BaseException as error:
            late.append(error)
        over.set()
        return 200

    uuid = bed.job(deaf)
    with Running(bed.app, executor=bed.executor, grace=0.1):
        assert began.wait(20)
    head = bed.document(uuid)
    assert (head["status"], head["attempts"], head["lost"]) == ("queued", 0, 0)
    bed.go.set()
    assert over.wait(20)
    assert isinstance(late[0], ClaimLost)
    assert bed.document(uuid) == head


def test_a_job_cancelled_before_its_run_does_not_run(bed: Bed) -> None:
    """The claim finds it cancelled: its owner died before it could record that."""
    ran: list[int] = []
    uuid = bed.job(lambda job: ran.append(1))
    [claim] = bed.app.engine.claim(1, WorkerIdentity("dead", 1.0), bed.app.registry.load_head)
    bed.app.cancel(uuid)
    bed.app.engine.rescue(uuid, claim.run, "lost", "its worker died")
    zerog.Worker(bed.app, executor=bed.executor).run(burst=True)
    assert (bed.document(uuid)["status"], ran) == ("cancelled", [])


def test_as_many_jobs_run_at_once_as_there_are_slots(bed: Bed) -> None:
    inside, most = [0], [0]
    lock = threading.Lock()

    def note(change: int) -> None:
        with lock:
            inside[0] += change
            most[0] = max(most[0], inside[0])

    def block(job: Any) -> Any:
        note(1)
        until(lambda: most[0] == 3)
        note(-1)

    async def wait(job: Any) -> Any:
        note(1)
        while most[0] < 3:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.002)
        note(-1)

    bed.job(wait if bed.kind == "async def" else block)
    bed.app.submit_many("made", [{}] * 20)
    stats = zerog.Worker(bed.app, executor=bed.executor, concurrency=3).run(burst=True)
    assert (stats.succeeded, most[0]) == (21, 3)
