"""Signals that are received in a thread, and processes that jobs fork meanwhile."""

from __future__ import annotations

import ast
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import zerog
from tests.forks import in_a_fork
from tests.processes import until
from zerog.worker.shutdown import StopRequest
from zerog.worker.signal_thread import SignalThread


@contextmanager
def handler(number: int, value: Any) -> Iterator[None]:
    before = signal.signal(number, value)
    try:
        yield
    finally:
        signal.signal(number, before)


def to_itself(number: int) -> None:
    os.kill(os.getpid(), number)


class Held:
    """An event whose lock the main thread holds, as in the middle of a wait."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_set = False

    def set(self) -> None:
        with self.lock:
            self.is_set = True


def test_a_handler_takes_no_lock_that_its_own_thread_holds() -> None:
    """It arrived in the middle of a wait for what it sets: nothing would ever end the worker."""

    def live() -> None:
        held = Held()
        with SignalThread([signal.SIGTERM], lambda _number: held.set()):
            with held.lock:
                to_itself(signal.SIGTERM)
                assert not held.is_set
            until(lambda: held.is_set)

    assert in_a_fork(live) == 0


def test_each_signal_counts() -> None:
    def live() -> None:
        stop_request = StopRequest()
        with stop_request.on_signals([signal.SIGTERM, signal.SIGINT]):
            for urgency, number in enumerate([signal.SIGTERM, signal.SIGINT, signal.SIGTERM], 1):
                to_itself(number)
                until(lambda urgency=urgency: stop_request.urgency == urgency)  # type: ignore[misc]
        assert stop_request.event.is_set()

    assert in_a_fork(live) == 0


def test_a_request_that_came_by_a_signal_and_through_the_supervisor_counts_once() -> None:
    stop_request = StopRequest()
    stop_request.ask(1)
    stop_request._on_signal(signal.SIGTERM)
    assert stop_request.urgency == 1
    stop_request.ask(2)
    assert stop_request.urgency == 2
    stop_request.hurry()
    assert stop_request.urgency == 3


@pytest.mark.parametrize("comes", [True, False])
def test_handlers_are_as_before_after_the_block(comes: bool) -> None:
    """A stop that arrived is ignored, so that a further one doesn't make a clean end look like a death."""

    def live() -> None:
        received: list[int] = []
        with SignalThread([signal.SIGTERM, signal.SIGUSR1], received.append):
            if comes:
                to_itself(signal.SIGTERM)
        assert received == [signal.SIGTERM] * comes
        assert signal.getsignal(signal.SIGTERM) == (signal.SIG_IGN if comes else signal.SIG_DFL)
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL

    assert in_a_fork(live) == 0


def test_sighup_stays_ignored() -> None:
    received: list[int] = []
    with handler(signal.SIGHUP, signal.SIG_IGN), SignalThread([signal.SIGHUP], received.append):
        to_itself(signal.SIGHUP)
    assert received == []


def in_a_thread(call: Callable[[], Any]) -> Any:
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(call()))
    thread.start()
    thread.join()
    return result[0]


@pytest.mark.parametrize("place", [lambda call: call(), in_a_thread])
def test_a_forked_process_has_the_handlers_from_before(place: Callable[..., Any]) -> None:
    """SIGTERM ends it, as ``Process.terminate()`` and pools expect, and does not reach the worker."""
    received: list[int] = []
    with SignalThread([signal.SIGTERM, signal.SIGINT], received.append):
        assert place(lambda: in_a_fork(lambda: to_itself(signal.SIGTERM))) == -signal.SIGTERM
        assert place(lambda: in_a_fork(lambda: to_itself(signal.SIGINT))) != 0
    assert received == []


def test_a_forked_process_keeps_a_handler_of_its_own_program() -> None:
    def own(_number: int, _frame: FrameType | None) -> None:
        os._exit(7)

    with handler(signal.SIGTERM, own), SignalThread([signal.SIGTERM], lambda _number: None):
        assert in_a_fork(lambda: to_itself(signal.SIGTERM)) == 7


ROOT = Path(zerog.__file__).parent

HARMLESS = {"getpid", "kill", "write", "signal", "suppress", "bytes"}
"""What a handler may call: nothing that takes a lock, logs or runs the user's code."""


def handlers() -> Iterator[tuple[str, ast.AST]]:
    """Every handler of signals in the package, with its module."""
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text())
        functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        for call in ast.walk(tree):
            if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "signal.signal"):
                continue
            given = call.args[1]
            name = given.attr if isinstance(given, ast.Attribute) else given.id if isinstance(given, ast.Name) else ""
            if isinstance(given, ast.Lambda) or name in functions:
                yield path.stem, given if isinstance(given, ast.Lambda) else functions[name]


def calls(handler: ast.AST) -> set[str]:
    found = {node.func for node in ast.walk(handler) if isinstance(node, ast.Call)}
    return {function.attr if isinstance(function, ast.Attribute) else ast.unparse(function) for function in found}


def test_no_handler_of_signals_takes_a_lock_logs_or_calls_user_code() -> None:
    """The one that interrupts a run has to raise in it, and checks where it is first."""
    found = list(handlers())
    assert {module for module, _ in found} == {"interrupts", "forkserver", "rqworker", "serve", "signal_thread"}
    for module, function in found:
        allowed = {"interrupts": {"_is_in_the_job", "interruption"}, "serve": {"exit"}}.get(module, HARMLESS)
        assert calls(function) <= allowed, f"{module}: {ast.unparse(function)}"


@pytest.mark.wide
def test_a_signal_right_after_the_fork_is_not_lost() -> None:
    """Python drops what a new process gets before it has its own handlers, and ``terminate()`` would wait for ever."""

    def live() -> None:
        with SignalThread([signal.SIGTERM], lambda _number: None):
            for _ in range(200):
                pid = os.fork()
                if pid == 0:
                    signal.alarm(20)  # which ends it, if nothing else does
                    signal.pause()
                os.kill(pid, signal.SIGTERM)
                assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGTERM

    assert in_a_fork(live) == 0
