"""Resources that a process's jobs share: opened once, when first used; closed in reverse; never inherited by a fork."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import zerog
from tests.processes import output, stretched
from tests.worker.builders import Running
from zerog.exceptions import ConfigurationError
from zerog.jobs.base import BaseJob
from zerog.testing.inline import run_inline


@pytest.fixture
def app() -> Iterator[zerog.App]:
    made = zerog.App("memory://")
    yield made
    made.close()


class Connection:
    """Notes its calls."""

    def __init__(self, recorded: list[str], name: str = "db") -> None:
        self.recorded, self.name = recorded, name
        recorded.append(f"{name} opened")

    def close(self) -> None:
        self.recorded.append(f"{self.name} closed")


@pytest.fixture
def recorded() -> list[str]:
    return []


# opening


def test_a_resource_is_opened_when_first_used_and_once(app: zerog.App, recorded: list[str]) -> None:
    app.resource("db", lambda: Connection(recorded))
    assert recorded == []
    assert app.resources.db is app.resources.db
    assert recorded == ["db opened"]


def test_threads_that_come_at_once_share_one(app: zerog.App) -> None:
    opened: list[int] = []
    barrier = threading.Barrier(8)

    def factory() -> object:
        opened.append(1)
        threading.Event().wait(0.05)  # long enough for all other threads to arrive
        return object()

    app.resource("db", factory)
    found: list[object] = []

    def use() -> None:
        barrier.wait(stretched(10))
        found.append(app.resources.db)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(stretched(10))
    assert len(opened) == 1
    assert len(set(map(id, found))) == 1 and len(found) == 8


def test_a_factory_may_use_other_resources_but_not_itself(app: zerog.App, recorded: list[str]) -> None:
    app.resource("engine", lambda: Connection(recorded, "engine"))
    app.resource("session", lambda: (app.resources.engine, Connection(recorded, "session"))[1])
    assert app.resources.session.name == "session"
    assert recorded == ["engine opened", "session opened"]
    app.resource("a", lambda: app.resources.b)
    app.resource("b", lambda: app.resources.a)
    with pytest.raises(ConfigurationError, match="'a' needs itself: a -> b -> a"):
        _ = app.resources.a


def test_an_error_of_a_factory_names_the_resource_and_the_next_use_tries_again(
    app: zerog.App, recorded: list[str]
) -> None:
    errors: list[Exception] = [ConnectionError("no route")]

    def factory() -> Any:
        if errors:
            raise errors.pop()
        return Connection(recorded)

    app.resource("db", factory)
    with pytest.raises(ConnectionError) as failed:
        _ = app.resources.db
    assert failed.value.__notes__ == ["while opening the resource 'db'"]
    errors.append(failed.value)
    with pytest.raises(ConnectionError):
        _ = app.resources.db
    assert len(failed.value.__notes__) == 1
    assert app.resources.db.name == "db"


def test_an_unknown_name_is_refused_with_a_list_of_known_ones(app: zerog.App) -> None:
    app.resource("database", lambda: 1)
    app.resource("cache", lambda: 2)
    with pytest.raises(AttributeError, match=r"no resource 'databse'; did you mean 'database'.*: cache, database"):
        _ = app.resources.databse
    assert "database" in dir(app.resources)
    assert not hasattr(app.resources, "_private")


# closing


def test_they_are_closed_in_the_reverse_order_of_opening_and_opened_again_on_use(
    app: zerog.App, recorded: list[str]
) -> None:
    for name in ("a", "b", "never"):
        app.resource(name, lambda name=name: Connection(recorded, name))
    _ = app.resources.b, app.resources.a
    app.close()
    app.close()
    assert recorded == ["b opened", "a opened", "a closed", "b closed"]
    assert app.resources.a.name == "a"


def test_a_generator_and_a_context_manager_close_what_they_yield(app: zerog.App, recorded: list[str]) -> None:
    def generator() -> Iterator[str]:
        recorded.append("in")
        yield "value"
        recorded.append("out")

    app.resource("bare", generator)
    app.resource("decorated", contextmanager(generator))
    assert (app.resources.bare, app.resources.decorated) == ("value", "value")
    app.close()
    assert recorded == ["in", "in", "out", "out"]


def test_an_object_is_not_entered_only_because_it_could_be(app: zerog.App) -> None:
    """A lock would be taken and never released, a connection begin a transaction."""
    app.resource("lock", threading.Lock)
    assert not app.resources.lock.locked()
    app.close()


def test_one_that_fails_to_close_is_logged_and_keeps_no_other_open(
    app: zerog.App, recorded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def failing() -> Iterator[str]:
        yield "value"
        raise OSError("disk gone")

    app.resource("good", lambda: Connection(recorded, "good"))
    app.resource("bad", failing)
    _ = app.resources.good, app.resources.bad
    with caplog.at_level(logging.ERROR, "zerog"):
        app.close()
    assert recorded == ["good opened", "good closed"]
    assert "'bad' could not be closed" in caplog.text and "disk gone" in caplog.text


def test_what_can_only_be_closed_in_a_loop_is_refused(app: zerog.App) -> None:
    class Asynchronous:
        async def close(self) -> None: ...

    app.resource("client", Asynchronous)
    with pytest.raises(ConfigurationError, match="asynchronous") as refused:
        _ = app.resources.client
    assert "'client'" in refused.value.__notes__[0]


def test_they_are_closed_when_a_program_ends() -> None:
    printed = output(
        """
        import zerog

        class Noisy:
            def __init__(self, name):
                self.name = name
            def close(self):
                print(self.name, "closed")

        app = zerog.App("memory://")
        app.resource("a", lambda: Noisy("a"))
        app.resource("b", lambda: Noisy("b"))
        app.resources.a, app.resources.b
        """
    )
    assert printed.split("\n") == ["b closed", "a closed"]


# forks


def test_a_fork_opens_its_own_and_leaves_its_parent_s_alone() -> None:
    """Whatever the child does, even ending as a program ends, its parent's connection stays open."""
    printed = output(
        """
        import os, sys
        import zerog

        class Noisy:
            def __init__(self):
                self.pid = os.getpid()
            def close(self):
                print("closed by", "itself" if os.getpid() == self.pid else "another", flush=True)
            __del__ = close

        app = zerog.App("memory://")
        app.resource("db", Noisy)
        mine = app.resources.db.pid
        if os.fork() == 0:
            print("child has its own", app.resources.db.pid == os.getpid(), flush=True)
            app.close()
            os._exit(0)
        os.wait()
        print("parent has its own", app.resources.db.pid == mine, flush=True)
        os._exit(0)
        """
    )
    assert printed.split("\n")[0] == "child has its own True"
    assert "another" not in printed
    assert printed.split("\n")[-1] == "parent has its own True"


def test_a_fork_while_another_thread_opens_one_is_not_stuck() -> None:
    printed = output(
        """
        import os, threading
        import zerog

        app = zerog.App("memory://")
        inside, go = threading.Event(), threading.Event()
        parent = os.getpid()

        def factory():
            if os.getpid() == parent:
                inside.set()
                go.wait(30)
            return os.getpid()

        app.resource("db", factory)
        thread = threading.Thread(target=lambda: app.resources.db)
        thread.start()
        inside.wait(30)
        if os.fork() == 0:
            print(app.resources.db == os.getpid(), flush=True)
            os._exit(0)
        os.wait()
        go.set()
        thread.join(30)
        """
    )
    assert printed == "True"


def test_the_last_of_two_workers_in_a_process_closes_them(app: zerog.App, recorded: list[str]) -> None:
    app.resource("db", lambda: Connection(recorded))
    app.register(
        type("Made", (BaseJob,), {"JOB_TYPE": "made", "run": lambda self: self.resources.db.recorded and None})
    )
    with Running(app):
        first = app.submit("made").uuid
        app.wait(first, timeout=20)
        zerog.Worker(app).run(burst=True)
        assert recorded == ["db opened"]
    assert recorded == ["db opened", "db closed"]


def test_run_inline_gives_a_job_what_its_app_has(app: zerog.App) -> None:
    app.resource("db", lambda: 7)
    app.register(type("Made", (BaseJob,), {"JOB_TYPE": "made", "run": lambda self: {"db": self.resources.db}}))
    assert run_inline(app, app.submit("made").uuid).output == {"db": 7}
    assert run_inline(app.submit("made")).output == {"db": 7}


# misuse


async def coroutine() -> None:
    pass


async def async_generator() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("name", "factory", "message"),
    [
        ("", object, "expected a name"),
        ("a b", object, "'a b'"),
        ("class", object, "'class'"),
        ("_db", object, "leading underscore"),
        (5, object, "the resource 5"),
        ("close", object, "name of a method"),
        ("db", 5, "the factory of the resource 'db' is 5"),
        ("db", None, "without parameters"),
        ("db", lambda url: url, "missing a required argument: 'url'"),
        ("db", coroutine, "is asynchronous"),
        ("db", async_generator, "async before_run"),
    ],
)
def test_what_can_be_no_resource_is_refused_at_once(app: zerog.App, name: Any, factory: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        app.resource(name, factory)
    assert message in str(refused.value)


def test_a_name_is_taken_once(app: zerog.App) -> None:
    app.resource("db", lambda: 1)
    with pytest.raises(ConfigurationError, match="'db' is declared already"):
        app.resource("db", lambda: 2)
    assert app.resources.db == 1
