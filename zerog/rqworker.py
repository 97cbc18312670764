"""The function that RQ's own worker runs, and worker classes for RQ that run nothing else.

``perform`` is the function that every entry of an ``RqQueue`` names. The environment names its app,
``ZEROG_APP=myapp:app``, and in ``ZEROG_LEASE`` the seconds without a heartbeat after which other workers take the job.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType
from typing import Any

import redis
import rq
from rq import worker_registration
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.utils import as_text, ensure_job_list, now
from rq.worker import BaseWorker

from zerog.app import App
from zerog.backends.rq.queue import ENTRY, RqQueue
from zerog.contracts.queue import Queue, Reservation
from zerog.engine.engine import Engine
from zerog.exceptions import ConfigurationError
from zerog.loading import load_app
from zerog.records.job import check_uuid
from zerog.support.environment import keep_secrets
from zerog.worker.delivery import run_delivery
from zerog.worker.settings import LEASE

log = logging.getLogger("zerog")

APP_VARIABLE = "ZEROG_APP"
LEASE_VARIABLE = "ZEROG_LEASE"

VISIBLE = 7 * 24 * 3600
"""Seconds for which RQ shows an entry as failed that could not be performed here at all."""


class _Stop:
    """A flag for signal handlers: True once this process, or the worker that forked it, was asked to shut down."""

    is_requested = False


PULSE, PULSE_TTL = 15.0, 60
"""Seconds between two heartbeats for RQ while a job runs, and until RQ gives up an execution without one."""


def perform(uuid: str) -> None:
    """Claim the job ``uuid``, run it and settle it: RQ's worker calls this for every entry.

    To RQ the entry succeeds whatever the job's result, which is in the job's document; an entry fails in RQ only if
    nothing could be done with it here. The job then waits as before, and reconcile puts it on the queue again.
    """
    entry = rq.get_current_job()
    try:
        app = _app()
        keep_secrets()
        queue = app.engine.queue_named(entry.origin if entry is not None else app.queue.name)
        delivery = _Delivery(check_uuid(uuid), queue, app.engine)
        with app.resources.used(), _pulse(entry):
            run_delivery(app, delivery, queue.name, _lease(), lambda: _Stop.is_requested)
    except Exception:
        if entry is not None:
            _show_failure(entry, uuid)
        raise


def _show_failure(entry: Job, uuid: object) -> None:
    """Make RQ show this failure for long, in place of an earlier one of the same job: reconcile tries for ever."""
    entry.failure_ttl = VISIBLE
    latest, job = f"{RQ_KEY_PREFIX}:zerog:failures:{entry.origin}", str(uuid)[:36]
    try:
        earlier = entry.connection.hget(latest, job)
        with entry.connection.pipeline() as pipeline:
            if earlier is not None:
                pipeline.zrem(f"{RQ_KEY_PREFIX}:failed:{entry.origin}", earlier)
                pipeline.delete(Job.key_for(as_text(earlier)), Result.get_key(as_text(earlier)))  # type: ignore[no-untyped-call]
            pipeline.hset(latest, job, entry.id)
            pipeline.expire(latest, VISIBLE)
            pipeline.execute()
    except redis.exceptions.RedisError as error:
        log.debug("an earlier failure of %s stays shown: %s", entry.id, error)


class _Delivery(Reservation):
    """An entry that RQ's worker has taken off its queue, and will delete."""

    def __init__(self, uuid: str, queue: Queue, engine: Engine) -> None:
        self.uuid = uuid
        self.queue = queue.name
        self._queue = queue
        self._engine = engine

    def delete(self) -> None:
        pass

    def release(self, delay: float = 0) -> None:
        self._engine.note_entry(self.uuid, self._queue.name, self._queue.put(self.uuid, delay))


def _app() -> App:
    target = os.environ.get(APP_VARIABLE)
    if not target:
        raise ConfigurationError(f"{APP_VARIABLE} is not set; expected MODULE:APP, for example myapp:app")
    return _checked_app(target)


@cache
def _checked_app(target: str) -> App:
    app = load_app(target)
    if not isinstance(app.queue, RqQueue):
        raise ConfigurationError(f"the queue of {target} is {app.queue!r}; RQ's worker serves apps on rq+redis:// only")
    if not app.datastore.shared:
        raise ConfigurationError(
            f"the datastore of {target} is within the submitting process; RQ's worker needs "
            "one that other processes see"
        )
    for job_type, job_class in app.registry.get_registered_classes().items():
        if job_class.TIMEOUT is not None:
            raise ConfigurationError(
                f"{job_type} has a TIMEOUT of {job_class.TIMEOUT} s, which RQ's worker can't be made to keep; use "
                "zerog worker. SOFT_TIMEOUT holds here, too"
            )
    return app


def _lease() -> float:
    text = os.environ.get(LEASE_VARIABLE, str(LEASE))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.5 <= seconds <= 3600:
        raise ConfigurationError(f"{LEASE_VARIABLE}={text!r}; expected seconds from 0.5 to 3600")
    return seconds


@contextmanager
def _pulse(entry: Job | None) -> Iterator[None]:
    """Send heartbeats for the entry to RQ: its simple worker can't, and a killed fork's parent won't."""
    if entry is None:
        yield
        return
    over = threading.Event()

    def beat() -> None:
        while True:
            try:
                _show_life(entry)
            except (redis.exceptions.RedisError, OSError, ValueError) as error:
                log.debug("RQ was not shown that %s is worked on: %s", entry.id, error)
            if over.wait(PULSE):
                return

    thread = threading.Thread(target=beat, name="zerog-rq-pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(5.0)


def _show_life(entry: Job) -> None:
    with entry.connection.pipeline() as pipeline:
        for execution in entry.get_executions():
            execution.heartbeat(entry.started_job_registry, PULSE_TTL, pipeline)
        if entry.worker_name:
            pipeline.expire(f"{rq.Worker.redis_worker_namespace_prefix}{entry.worker_name}", PULSE_TTL)
        pipeline.execute()


def refusal(entry: Job) -> str | None:
    """Return why an RQ job is none of ZeroG's, or None if it is one; nothing that it names is looked up."""
    try:
        name, instance, arguments, options = entry.func_name, entry.instance, entry.args, entry.kwargs
    except Exception:  # RQ reads the payload without checking its shape
        return f"refused: the payload of {entry.id} is not JSON as ZeroG writes it; it was not read any further"
    if name != ENTRY or instance is not None or options or not isinstance(arguments, list) or len(arguments) != 1:
        return f"refused: {entry.id} names {name!r:.80}; this worker calls nothing but {ENTRY}(uuid)"
    return None


class ZerogJob(Job):
    """An RQ job that leads to ``perform`` or nowhere: no function, callback or web hook of a payload is ever used."""

    success_callback = failure_callback = stopped_callback = None

    @property
    def func(self) -> Callable[..., Any]:
        why = refusal(self)
        if why is not None:
            raise ConfigurationError(why)
        return perform

    def send_webhooks(self, *_args: Any, **_options: Any) -> None:
        """Send nothing: any client that writes to Redis can set their addresses."""


class ZerogQueue(rq.Queue):
    """An RQ queue whose worker survives entries that it can't read."""

    @classmethod
    def dequeue_any(cls, *args: Any, **options: Any) -> tuple[Job, rq.Queue] | None:
        while True:
            try:
                return super().dequeue_any(*args, **options)
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                raise
            except Exception as error:
                identity, queue = getattr(error, "job_id", None), getattr(error, "queue", None)
                if identity is None and not isinstance(error, UnicodeDecodeError):
                    raise  # nothing was taken, or what was taken has a name
                log.warning("job %r on an RQ queue can't be read: %r", identity, error)
                if identity is not None and queue is not None:
                    _own_queue(queue.name).set_aside(identity)


def _own_queue(name: str) -> RqQueue:
    queue = _app().engine.queue_named(name)
    assert isinstance(queue, RqQueue)
    return queue


class _OnlyZerog(BaseWorker):
    """Mixed into RQ's workers: JSON whatever the command line sets, and no function but ``perform``."""

    def __init__(self, queues: Any, *args: Any, **options: Any) -> None:
        given = ensure_job_list(queues)
        names = [queue if isinstance(queue, str) else queue.name for queue in given]
        if not options.get("connection"):
            options["connection"] = next(queue.connection for queue in given if not isinstance(queue, str))
        options |= {"job_class": ZerogJob, "queue_class": ZerogQueue, "serializer": JSONSerializer}
        super().__init__(names, *args, **options)

    def bootstrap(self, *args: Any, **options: Any) -> None:
        """Load the app once, for all forks to come, and fail here if it can't be."""
        app = _app()
        _lease()
        super().bootstrap(*args, **options)
        app.close()

    def handle_warm_shutdown_request(self) -> None:
        """Notify the running job, which RQ waits for, that it should save what it has and return."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        _Stop.is_requested = True
        if self.horse_pid:
            with suppress(ProcessLookupError):
                os.kill(self.horse_pid, signal.SIGTERM)

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        horse = os.getpid()

        def on_sigterm(number: int, _frame: FrameType | None) -> None:
            if os.getpid() == horse:
                _Stop.is_requested = True
            else:  # a process that the job forked, which its terminate() shall end
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)

        signal.signal(signal.SIGTERM, on_sigterm)

    def execute_job(self, job: Job, queue: rq.Queue) -> None:
        why = refusal(job)
        if why is None:
            super().execute_job(job, queue)
            return
        log.warning("%s", why)
        self.connection.lrem(queue.intermediate_queue_key, 1, job.id)
        job.retries_left = None
        self.handle_job_failure(job, queue, exc_string=why)

    def clean_registries(self) -> None:
        """Put back ZeroG's entries that dead workers left; RQ's own cleaning calls functions that any job names."""
        for queue in self.queues:
            worker_registration.clean_worker_registry(queue)
            _own_queue(queue.name).tidy()
        self.last_cleaned_at = now()  # type: ignore[assignment]  # RQ declares it as None

    def clean_group_registries(self) -> None:
        """Leave groups alone: RQ reads their jobs as pickle."""


class ZerogWorker(_OnlyZerog, rq.Worker):
    """``rq worker -w zerog.rqworker.ZerogWorker``: a fork for each job."""


class ZerogSpawnWorker(_OnlyZerog, rq.SpawnWorker):
    """``rq worker -w zerog.rqworker.ZerogSpawnWorker``: a fresh process for each job.

    Raises ConfigurationError for a Redis server with a password, which RQ writes into the command line of that process.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.connection.connection_pool.connection_kwargs.get("password"):
            raise ConfigurationError(
                "RQ's spawning worker shows the password of its Redis server to every user of the machine, in the "
                "command line of each process that it starts; no job was taken. Use zerog.rqworker.ZerogWorker, or "
                "zerog worker"
            )


class ZerogSimpleWorker(_OnlyZerog, rq.SimpleWorker):
    """``rq worker -w zerog.rqworker.ZerogSimpleWorker``: jobs in the worker's own process."""
