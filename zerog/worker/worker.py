"""``Worker``: claims, runs and settles jobs, renews its lease, repairs what a crash left.

``EmbeddedWorker`` runs one beside other code of the same process: in a thread, for as long as a block lasts. A fatal
error of the worker is raised where the block ends, whatever the block did; an ``async with`` block is cancelled.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from zerog.exceptions import ConfigurationError, ZerogError
from zerog.jobs.logfields import current_job
from zerog.support.callables import signature_error
from zerog.support.clock import SYSTEM, Clock
from zerog.worker.health import HealthReporter
from zerog.worker.session import Session, WorkerStats
from zerog.worker.settings import GRACE, JOBS_PER_CHILD, LEASE, SIGNALS, settings_of
from zerog.worker.shutdown import StopRequest

if TYPE_CHECKING:
    import asyncio  # imported only where it is needed: it takes a third of the package's import time

    from zerog.app import App


log = logging.getLogger("zerog")


class Worker:
    """Runs the jobs of one app in this process.

    ``run()`` works in the calling thread. ``with Worker(app):`` and ``async with Worker(app):`` work in a separate
    thread for as long as the block lasts; what was fatal to the worker is raised at the end of the block in every case,
    and an ``async with`` block is cancelled at once when that happens.

    ``concurrency``: jobs at once. ``executor``: ``thread``; ``async`` for an event loop with a task for each
    ``async def run`` and a thread for each plain one; or ``process`` for a child process per slot, so that a crash
    affects one job only. All three run a plain ``run`` of a class with a TIMEOUT in a child process. ``lease``: seconds
    without a heartbeat after which other workers take the jobs. ``grace``: seconds that running jobs get to stop.
    ``queues``: names, in order of priority. ``name``: prefix of the worker's name (by default the host's); a suffix
    makes the name unique.

    ``max_jobs``: runs after which this worker ends: it stops claiming, waits for the running jobs without a limit, and
    ``run`` returns; a supervisor starts the next one. ``max_memory``: bytes of resident memory after which the same
    happens; with ``process`` only the child that holds them is replaced. ``max_jobs_per_child``: runs after which a
    child is.

    ``build_id``: names the code that this worker runs, for its record and for the errors of its runs; by default the
    environment variable ZEROG_BUILD. ``connect_retries``: tries after the first one to reach the datastore at the
    start, with growing pauses of up to half a minute; None for ever. ``signals``: those that end ``run`` in the main
    thread; ``()`` leaves them all alone. ``reporter``: gets this worker's heartbeats and states; by default there is
    none. ``on_fatal``: called with the error that ends this worker, before it is raised: ``def``, or ``async def``,
    which gets an event loop of its own. It can't prevent the end, and what it raises is logged.

    ``debug``: jobs run one at a time in the thread that calls ``run``, without time limits and under a lease of an
    hour, whatever ``executor``, ``concurrency`` and ``lease`` are; None for the environment variable ZEROG_DEBUG.

    ``role``: serve the queues that ``app.fleet.settings.set_role`` gives this name, and follow each change; None for
    the environment variable ZEROG_ROLE, unless ``queues`` are given.

    Raises ConfigurationError for anything that could not work.
    """

    _thread: int | None = None
    """The thread that runs it."""
    has_worked: bool = False
    """True once it has claimed jobs: what fails later is no mistake of its configuration."""
    owns_process: bool = False
    """True if nothing else uses the process: then it forks at its start, for jobs to come with own limits."""
    _background: EmbeddedWorker | None = None
    """What runs it as ``with`` does."""
    buried: Sequence[tuple[str, bool]] = ()
    """Workers whose jobs this one takes at its start, because their processes are known to be gone; and whether each
    was stopping, so that they don't count as lost."""

    def __init__(
        self,
        app: App,
        *,
        concurrency: int = 1,
        executor: str = "thread",
        lease: float = LEASE,
        grace: float = GRACE,
        queues: Sequence[str] = (),
        name: str | None = None,
        clock: Clock = SYSTEM,
        max_jobs: int | None = None,
        max_jobs_per_child: int = JOBS_PER_CHILD,
        max_memory: int | None = None,
        build_id: str | None = None,
        connect_retries: int | None = None,
        signals: Sequence[int] = SIGNALS,
        reporter: HealthReporter | None = None,
        on_fatal: Callable[[BaseException], object] | None = None,
        debug: bool | None = None,
        role: str | None = None,
    ) -> None:
        self.settings = settings_of(
            queues,
            app.queue.name,
            name,
            build_id,
            signals,
            debug,
            role,
            concurrency=concurrency,
            executor=executor,
            lease=lease,
            grace=grace,
            max_jobs=max_jobs,
            max_jobs_per_child=max_jobs_per_child,
            max_memory=max_memory,
            connect_retries=connect_retries,
        )
        _check(app, self.settings.executor, on_fatal)
        self.app = app
        # Never reused: a worker under an old name could be mistaken for its predecessor.
        self.name = f"{self.settings.name}-{os.getpid()}-{os.urandom(3).hex()}"
        self._clock = clock
        self._reporter = reporter or HealthReporter()
        self._on_fatal = on_fatal
        self._stop_request = StopRequest()
        self._session: Session | None = None
        self._end = threading.Event()
        """Set once the latest run has ended."""

    @property
    def queues(self) -> tuple[str, ...]:
        """Names of the queues that it serves, in order of priority."""
        return self.settings.queues

    @property
    def is_running(self) -> bool:
        """True while it works, waits for the datastore at its start, or shuts down."""
        return self._session is not None

    @property
    def is_stopped(self) -> bool:
        """True once it has run and ended, in whatever way; False before the first run, and while another one works."""
        return self._session is None and self._end.is_set()

    def config(self) -> dict[str, Any]:
        """Return a copy of the settings, as JSON values."""
        return self.settings.to_json()

    def run(self, burst: bool = False) -> WorkerStats:
        """Work until ``stop()``, SIGTERM, SIGINT or SIGHUP; with ``burst`` only until nothing is ready any more.

        Signals are handled if this is the main thread. The first one stops claiming, lets running jobs see
        ``stopping`` and waits ``grace`` seconds for them; a second one doesn't wait. What still runs then is
        released, uncounted. A process that SIGTERM or SIGHUP has ended ignores further ones after ``run`` has
        returned. SIGHUP stays ignored if it is when ``run`` is called.

        Raises DatastoreError if the datastore can't be reached (see ``connect_retries``), and ZerogError, after it has
        given its jobs back, if it can't start child processes any more.
        """
        session = self._open()
        with self._stop_request.on_signals(self.settings.signals):
            return self._work(session, burst)

    def stop(self, urgency: int = 1, *, wait: bool = False) -> None:
        """Request the end of ``run``; from any thread, harmless when repeated. ``urgency=2`` doesn't wait for jobs.

        Returns at once; with ``wait`` once the worker has ended, at once if it doesn't run. A stop before ``run``
        counts: that ends as soon as it is called. Raises ZerogError, and requests nothing, for a wait that would wait
        for itself: in the thread that runs the worker, and in a job of it.
        """
        session, end = self._session, self._end
        if wait and session is not None:
            self._check_not_within()
        self._stop_request.ask(urgency)
        if wait and session is not None:
            end.wait()

    def __enter__(self) -> Worker:
        if self.settings.debug:
            raise ConfigurationError(
                "a worker in debug mode runs jobs in the thread that calls run(), which `with` has none for; expected "
                "Worker(…, debug=True).run()"
            )
        session = self._open()
        self._background = EmbeddedWorker(lambda: self._work(session, False), self._stop_request)
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self._background is not None
        self._background.end()

    async def __aenter__(self) -> Worker:
        self.__enter__()
        assert self._background is not None
        self._background.interrupt()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        assert self._background is not None
        await self._background.end_async()

    def _open(self) -> Session:
        if self._session is not None:
            raise ZerogError(f"worker {self.name} is running already; make another Worker for a second one")
        for queue in self.queues:
            self.app.engine.queue_named(queue)
        session = Session(
            self.app,
            self.settings,
            self.name,
            self._stop_request,
            self._reporter,
            self._clock,
            self.buried,
            self.owns_process,
        )
        self._end, self._thread = threading.Event(), None
        self._session = session
        return session

    def _work(self, session: Session, burst: bool) -> WorkerStats:
        self._thread = threading.get_ident()
        try:
            with self.app.resources.used():
                return session.run(burst)
        except BaseException as error:
            self._report_fatal(error)
            raise
        finally:
            self.has_worked = self.has_worked or session.has_worked
            self._session = None
            # Not at the start: a stop() before run() counts, too.
            self._stop_request = StopRequest()
            self._end.set()

    def _check_not_within(self) -> None:
        """Refuse to wait where the worker's end waits for the caller."""
        job = current_job.get()
        within = "the thread that runs it" if self._thread == threading.get_ident() else None
        if job is not None and (job.owner or {}).get("worker") == self.name:
            within = f"job {job.uuid}, which it runs"
        if within is not None:
            raise ZerogError(
                f"stop(wait=True) of worker {self.name} was called in {within}, for whose end it would wait; call "
                "stop() there. Nothing was requested."
            )

    def _report_fatal(self, error: BaseException) -> None:
        try:
            if self._on_fatal is not None and inspect.isawaitable(answer := self._on_fatal(error)):
                _await(answer)
        except BaseException:
            log.exception("on_fatal of worker %s failed; the worker ends all the same", self.name)


def _check(app: App, executor: str, on_fatal: object) -> None:
    """Refuse what can't be checked without the app. Raises ConfigurationError."""
    if on_fatal is not None:
        why = signature_error(on_fatal, None) if callable(on_fatal) else "it can't be called"
        if inspect.isgeneratorfunction(on_fatal) or inspect.isasyncgenfunction(on_fatal):
            why = "it yields, so calling it would do nothing"
        if why:
            raise ConfigurationError(
                f"on_fatal={on_fatal!r:.200}: {why}; expected a function that takes the error, def or async def, or "
                "None"
            )
    if executor == "process" and not app.datastore.forkable:
        raise ConfigurationError(
            "executor='process' forks, and the datastore has a client of yours that can't be used after a fork. Use "
            "executor='thread', or a URL in place of client=…"
        )
    if executor == "process" and not app.datastore.shared:
        raise ConfigurationError(
            "executor='process' needs a datastore that other processes see; memory:// lives in one. Use "
            "executor='thread', or sqlite:///jobs.db"
        )


def _await(awaitable: Awaitable[object]) -> None:
    """Await it on a new event loop in this thread: a worker has none, and the program's may wait for this worker."""
    import asyncio

    async def wait() -> None:
        await awaitable

    asyncio.run(wait())


class EmbeddedWorker:
    """Calls ``work`` in a thread; ``stop_request`` ends it."""

    def __init__(self, work: Callable[[], WorkerStats], stop_request: StopRequest) -> None:
        self._work = work
        self._stop_request = stop_request
        self._future: Future[WorkerStats] = Future()
        self._block: asyncio.Task[object] | None = None
        self._is_interrupted = False
        threading.Thread(target=self._run, name="zerog-worker", daemon=True).start()

    def end(self) -> None:
        """Stop the worker and wait for its end. Raises what was fatal to it; Ctrl-C makes it hurry."""
        self._stop_request.ask()
        try:
            self._future.exception()
        except KeyboardInterrupt:
            self._stop_request.hurry()
            self._future.exception()
            raise
        self._future.result()

    def interrupt(self) -> None:
        """Cancel the present task of the running event loop as soon as the worker fails."""
        import asyncio

        self._block = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def interrupt_if_failed(future: Future[WorkerStats]) -> None:
            if future.exception() is not None and not loop.is_closed():
                loop.call_soon_threadsafe(self._interrupt)

        self._future.add_done_callback(interrupt_if_failed)

    async def end_async(self) -> None:
        """Do as ``end``, in the event loop that ``interrupt`` was called in; a cancellation makes the worker hurry."""
        import asyncio

        self._stop_request.ask()
        ended = asyncio.wrap_future(self._future)
        cancelled: asyncio.CancelledError | None = None
        while not ended.done():
            try:
                await asyncio.wait([ended])
            except asyncio.CancelledError as error:
                if not self._is_interrupted:
                    self._stop_request.hurry()
                    cancelled = error
        block, self._block = self._block, None
        if self._is_interrupted and block is not None:
            block.uncancel()
        ended.result()
        if cancelled is not None:
            raise cancelled

    def _run(self) -> None:
        try:
            stats = self._work()
        except BaseException as error:
            self._future.set_exception(error)
        else:
            self._future.set_result(stats)

    def _interrupt(self) -> None:
        if self._block is not None:
            self._is_interrupted = True
            self._block.cancel()
