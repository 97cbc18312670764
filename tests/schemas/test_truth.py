"""What a comparison says is so: documents of the old schema, sent through the migrations and loads of the new class."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from marshmallow import ValidationError

import zerog
from tests.marks import wide
from tests.schemas.kinds import KINDS, PRESENCE, Chosen, chosen, job_class, parameters
from zerog.jobs.declaration import declaration_of
from zerog.records.job import HISTORY
from zerog.schemas.compare import Comparison, compare
from zerog.schemas.describe import described, hash_of
from zerog.schemas.documents import merged
from zerog.schemas.findings import DOCUMENTS, NEW_CALLERS, OLD_CALLERS, WORKERS, Level
from zerog.schemas.lift import lift_of
from zerog.schemas.rebuild import schema_of


def compared(old: type[zerog.BaseJob], new: type[zerog.BaseJob]) -> Comparison:
    """The comparison of one class with its successor."""
    [found] = compare([described(old)], [described(new)], {"made": lift_of(new)})
    return found


def stored(job_class: type[zerog.BaseJob], sent: dict[str, Any]) -> dict[str, Any]:
    """The fields of the document that a submit stores."""
    app = zerog.App("memory://")
    app.register(job_class)
    document = app.datastore.read(f"zerog_job_{app.submit(job_class, sent).uuid}")
    own = declaration_of(job_class).fields
    return {"schemaVersion": document["schemaVersion"], **{key: document[key] for key in own if key in document}}


def levels(found: Comparison, role: str) -> set[Level]:
    """How much is found in a role."""
    return {finding.level for finding in found.findings if finding.role == role}


def reads(old: type[zerog.BaseJob], new: type[zerog.BaseJob], document: dict[str, Any]) -> str | None:
    """Why a document of the old class doesn't reach the new one as it was; None if it does."""
    problem, undeclared = lift_of(new)(document)
    if problem:
        return problem
    before, after = declaration_of(old).fields, declaration_of(new).fields
    lost = [key for key in undeclared if any(name not in before for name in after)]
    if lost:
        return f"lost: {lost}"
    for key in before.keys() & after.keys() & document.keys():
        value = document[key]
        if value is not None:
            one, other = before[key].load(value), after[key].load(value)
            dumped = after[key].dump(other)
            if one != other and not keeps(value, dumped):
                return f"{key}: {value!r} became {dumped!r}"
    return None


def keeps(value: Any, dumped: Any) -> bool:
    """True if what was stored is in what is stored now, at most beside more."""
    if isinstance(value, dict) and isinstance(dumped, dict):
        return all(key in dumped and keeps(part, dumped[key]) for key, part in value.items())
    if isinstance(value, list) and isinstance(dumped, list):
        return len(value) == len(dumped) and all(map(keeps, value, dumped))
    return bool(value == dumped) or str(value) == str(dumped)


@given(chosen, chosen, st.data())
def what_fits_is_read_and_what_breaks_is_shown(old: Chosen, new: Chosen, data: st.DataObject) -> None:
    before, after = job_class(old), job_class(new)
    found = compared(before, after)
    worst = max(levels(found, DOCUMENTS), default=Level.NOTE)
    if worst <= Level.LOOK and Level.UNSURE not in levels(found, DOCUMENTS):
        for _ in range(5):
            document = stored(before, data.draw(parameters(old)))
            assert lift_of(after)(document)[0] is None, (document, found.findings)
    for finding in found.findings:
        if finding.role == DOCUMENTS and finding.level == Level.BREAKS:
            assert finding.example is not None
            assert reads(before, after, finding.example), finding
    assert (found.stub is None) == (worst < Level.BREAKS)


@given(chosen, chosen, st.data())
def old_workers_read_what_new_code_stores(old: Chosen, new: Chosen, data: st.DataObject) -> None:
    before, after = job_class(old), job_class(new)
    found = compared(before, after)
    if levels(found, WORKERS) <= {Level.NOTE}:
        for _ in range(5):
            assert lift_of(before)(stored(after, data.draw(parameters(new))))[0] is None
    for finding in found.findings:
        if finding.role == WORKERS and finding.example is not None:
            assert reads(after, before, finding.example), finding


@given(chosen, chosen, st.data())
def callers_are_accepted_or_shown_refused(old: Chosen, new: Chosen, data: st.DataObject) -> None:
    before, after = job_class(old), job_class(new)
    found = compared(before, after)
    for role, (one, of_one), other in (
        (OLD_CALLERS, (before, old), after),
        (NEW_CALLERS, (after, new), before),
    ):
        if levels(found, role) <= {Level.NOTE, Level.LOOK}:
            for _ in range(5):
                declaration_of(other).validated(data.draw(parameters(of_one)))
        for finding in found.findings:
            if finding.role == role and finding.example is not None and "becomes" not in finding.what:
                declaration_of(one).validated(finding.example)
                with pytest.raises(ValidationError):
                    declaration_of(other).validated(finding.example)


def renamed(document: dict[str, Any]) -> dict[str, Any]:
    document["c"] = document.pop("a", None)
    return document


def converted(document: dict[str, Any]) -> dict[str, Any]:
    document["a"] = int(document["a"])
    return document


def emptied(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in ("a", "b", "c")}


@given(chosen, chosen, st.sampled_from([renamed, converted, emptied]), st.data())
def migrations_are_tried(old: Chosen, new: Chosen, change: Any, data: st.DataObject) -> None:
    """Where no example fails, generated documents seldom do; an example that fails is one that does."""
    before = job_class(old)
    after = job_class(new, "2.0", change=staticmethod(zerog.migration("1.0", "2.0")(change)))
    found = compared(before, after)
    for finding in found.findings:
        if finding.role == DOCUMENTS and finding.level == Level.BREAKS:
            assert finding.example is not None
            assert lift_of(after)(finding.example)[0]
    if change is emptied and levels(found, DOCUMENTS) <= {Level.NOTE}:
        assert lift_of(after)(stored(before, data.draw(parameters(old))))[0] is None


@given(chosen, st.data())
def a_class_fits_itself(declared: Chosen, data: st.DataObject) -> None:
    """A description also accepts, as a JSON Schema, what is stored, and is the same for the same class."""
    one, other = job_class(declared), job_class(declared)
    assert compared(one, other).findings == []
    assert hash_of(described(one)) == hash_of(described(other))
    whole = merged(described(one))
    Draft202012Validator.check_schema(whole)
    document = stored(one, data.draw(parameters(declared)))
    own = {key: value for key, value in document.items() if key in whole["properties"]}
    left_out = {key for key, value in own.items() if value is None}
    Draft202012Validator(whole).validate(
        {key: value for key, value in own.items() if key not in left_out or key in whole.get("required", ())}
    )


@pytest.mark.parametrize("examples", [25, *wide(400)])
@pytest.mark.parametrize(
    "check",
    [
        what_fits_is_read_and_what_breaks_is_shown,
        old_workers_read_what_new_code_stores,
        callers_are_accepted_or_shown_refused,
        migrations_are_tried,
        a_class_fits_itself,
    ],
)
def test_what_a_comparison_says_is_so(check: Any, examples: int) -> None:
    settings(max_examples=examples, deadline=None)(check)()


@pytest.mark.parametrize("presence", PRESENCE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_field_is_built_again_from_its_description(kind: str, presence: str) -> None:
    before = described(job_class({"a": (kind, presence)}))
    again = schema_of(before["params"])
    made = type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "Params": again, "run": lambda self: 200})
    assert described(made)["params"] == before["params"]


def test_history_is_no_field() -> None:
    assert not {*HISTORY} & merged(described(job_class({})))["properties"].keys()
