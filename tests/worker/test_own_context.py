"""What a job sets in its context ends with its run: context variables, the precision of decimals."""

from __future__ import annotations

import contextvars
import decimal
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.worker.builders import work
from zerog.testing import drain, run_inline

TENANT = contextvars.ContextVar("tenant", default="none")


def change(job: zerog.BaseJob) -> dict[str, Any]:
    before = [TENANT.get(), str(decimal.Decimal(1) / decimal.Decimal(3))]
    TENANT.set("acme")
    decimal.getcontext().prec = 2
    return {"before": before, "after": [TENANT.get(), str(decimal.Decimal(1) / decimal.Decimal(3))]}


@pytest.fixture
def app(tmp_path: Path) -> zerog.App:
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db?synchronous=normal")
    app.job("change")(change)

    @app.job("change later")
    async def change_later(job: zerog.BaseJob) -> dict[str, Any]:
        return change(job)

    return app


def check(app: zerog.App, uuids: list[str]) -> None:
    precision = f"0.{'3' * decimal.getcontext().prec}"
    for uuid in uuids:
        output = app.get_job(uuid).output
        assert output == {"before": ["none", precision], "after": ["acme", "0.33"]}


@pytest.mark.parametrize("executor", ["thread", "process", "async"])
def test_a_run_leaves_its_context_to_no_other(app: zerog.App, executor: str) -> None:
    uuids = [app.submit(name).uuid for name in ("change", "change later") for _ in range(3)]
    work(app, executor)
    check(app, uuids)
    app.close()


@pytest.mark.parametrize("name", ["change", "change later"])
def test_a_run_in_a_test_leaves_the_tests_context_as_it_is(app: zerog.App, name: str) -> None:
    uuids = [app.submit(name).uuid for _ in range(3)]
    run_inline(app, uuids[0])
    assert len(drain(app)) == 2
    check(app, uuids)
    assert TENANT.get() == "none"
    app.close()
