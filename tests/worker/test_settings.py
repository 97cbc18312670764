"""Settings of a worker: which are refused, and what config() returns."""

from __future__ import annotations

import signal
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import zerog
from tests.worker.builders import async_generator, generator


@pytest.fixture
def app() -> zerog.App:
    made = zerog.App("memory://")

    @made.job
    def quick(job: zerog.BaseJob) -> None:
        pass

    return made


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"connect_retries": -1}, "connect_retries=-1"),
        ({"connect_retries": 2.5}, "whole number"),
        ({"connect_retries": True}, "connect_retries=True"),
        ({"build_id": ""}, "build_id=''"),
        ({"build_id": "a b"}, "without spaces"),
        ({"build_id": 7}, "build_id=7"),
        ({"name": ""}, "name=''"),
        ({"name": "x" * 101}, "1 to 100"),
        ({"name": "a\nb"}, "without spaces"),
        ({"queues": "high"}, "a list of names"),
        ({"queues": [1]}, "a list of names"),
        ({"signals": [signal.SIGKILL]}, "can be handled"),
        ({"signals": [12345]}, "can be handled"),
        ({"signals": 15}, "signals=15"),
        ({"on_fatal": "mail"}, "on_fatal='mail': it can't be called"),
        ({"on_fatal": lambda: None}, "too many positional arguments; expected a function that takes the error"),
        ({"on_fatal": generator}, "it yields, so calling it would do nothing"),
        ({"on_fatal": async_generator}, "it yields, so calling it would do nothing"),
        ({"grace": float("nan")}, "grace=nan"),
        ({"lease": True}, "lease=True"),
    ],
)
def test_wrong_settings_fail_at_once(app: zerog.App, options: dict[str, Any], named: str) -> None:
    with pytest.raises(zerog.ConfigurationError, match="expected") as caught:
        zerog.Worker(app, **options)
    assert named in str(caught.value)


def test_a_worker_is_refused_with_the_threads_of_gevent(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """With them it would wait for ever, for a signal that another of its threads can't pass on."""
    monkeypatch.setitem(sys.modules, "gevent.monkey", SimpleNamespace(is_module_patched=lambda name: False))
    zerog.Worker(app)
    monkeypatch.setitem(sys.modules, "gevent.monkey", SimpleNamespace(is_module_patched="threading".__eq__))
    with pytest.raises(zerog.ConfigurationError, match=r"gevent .* expected an app whose module doesn't"):
        zerog.Worker(app)


def test_config_is_a_copy_of_the_settings(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROG_BUILD", "1f2e3d")
    worker = zerog.Worker(app, name="pinta", queues=["high", "low"], lease=6)
    assert worker.config() == {
        "concurrency": 1,
        "executor": "thread",
        "lease": 6.0,
        "grace": 25.0,
        "queues": ["high", "low"],
        "name": "pinta",
        "build_id": "1f2e3d",
        "max_jobs": None,
        "max_jobs_per_child": 100,
        "max_memory": None,
        "connect_retries": None,
        "signals": ["SIGTERM", "SIGINT", "SIGHUP"],
        "debug": False,
        "role": None,
    }
    worker.config()["queues"].append("more")
    assert worker.config()["queues"] == ["high", "low"] and worker.queues == ("high", "low")
    assert zerog.Worker(app, build_id="mine").config()["build_id"] == "mine"
