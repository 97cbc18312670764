"""What ``run()`` sees is what submit validated: generated schemas and values, on every adapter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

import zerog
from tests.jobs.generated import as_sent, generated, schemas
from tests.jobs.seeing import check_seen, register_seeing
from zerog.exceptions import InvalidJobClass, InvalidValue
from zerog.records.job import make_key

MANY = 10_000
"""The number of generated schemas and values of the long runs."""


def check_any(app: zerog.App, data: st.DataObject) -> None:
    """Check a value of plain kinds, which must be accepted, or of odd ones, which may be refused in words."""
    way = data.draw(st.sampled_from(["field", "whole", "odd"]))
    if way == "whole":
        params, sent = data.draw(schemas())
    else:
        field, given = data.draw(generated(odd=way == "odd"))
        params, sent = type("Params", (Schema,), {"given": field}), st.fixed_dictionaries({"given": given})
    value = as_sent(data.draw(sent))
    refusal = _refusal(app, params, value)
    if refusal is None:
        [head] = app.jobs()
        app.datastore.delete(make_key(head["uuid"]))
        return
    if way != "odd":
        raise refusal
    event(f"refused: {type(refusal).__name__}")
    assert "given" in str(refusal)
    assert list(app.jobs()) == []


def _refusal(app: zerog.App, params: type[Schema], value: Any) -> Exception | None:
    """The error that a class or a value gets; None if its run saw what was validated."""
    try:
        check_seen(app, register_seeing(app, params), value)
    except (InvalidJobClass, InvalidValue, ValidationError) as error:
        return error
    return None


RELAXED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


@settings(max_examples=25, deadline=None, suppress_health_check=RELAXED)
@given(data=st.data())
def test_a_run_sees_what_was_validated(adapter_app: zerog.App, data: st.DataObject) -> None:
    """Schemas nested three deep, with hooks, validators and fields of their own, on every adapter."""
    check_any(adapter_app, data)


@pytest.mark.long
@pytest.mark.timeout(7200)
@settings(max_examples=MANY, deadline=None, suppress_health_check=RELAXED)
@given(data=st.data())
def test_ten_thousand_runs_see_what_was_validated(adapter_app: zerog.App, data: st.DataObject) -> None:
    """Long enough to meet combinations that are rare."""
    check_any(adapter_app, data)
