"""Mistakes in the code of a deploy: each is found on stored documents, which stay as they are, with its sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.cli.rehearsal.builders import AFTER, Deploy, rehearse, rehearsed
from tests.marks import wide
from zerog.contracts.find import FindQuery
from zerog.records.job import make_key
from zerog.records.operations import Set

MISTAKES = {
    "raises": (
        'document["nothing"]',
        "fails",
        None,
        "migration 1.0 → 2.0 (Invoice.to_cents) failed: KeyError: 'nothing'",
    ),
    "drops a field": (
        'document.pop("colour")',
        "loses",
        "colour",
        "is dropped: version 2.0 is the same whatever its value was",
    ),
    "drops a value below a field": (
        'document["options"] = {"b": document["options"].get("b")}',
        "loses",
        "options.a",
        "is dropped: version 2.0 is the same whatever its value was",
    ),
    "isn't idempotent": (
        'document["extra"] = next(NUMBERS)',
        "changes",
        "extra",
        "differs when the code of a migration runs again on the same document",
    ),
    "changes a shared object": (
        'SHARED.append(1)\ndocument["extra"] = SHARED',
        "changes",
        "extra",
        "differs when the code of a migration runs again on the same document",
    ),
    "depends on the clock": (
        'document["extra"] = datetime.datetime.now().isoformat()',
        "clock",
        "extra",
        "gets another value from the code of a migration a year later",
    ),
    "leaves a field that nothing reads": (
        'document["shade"] = document.pop("colour")',
        "loses",
        "shade",
        "is stored, and the class doesn't declare it: no run uses it",
    ),
    "makes a value of another type": (
        'document["cents"] = "many"',
        "fails",
        "cents",
        "it has cents='many', which is no Integer (Not a valid integer.); the document was left as it is",
    ),
    "forgets a required field": (
        'del document["cents"]',
        "fails",
        "cents",
        "it has no cents, which is required; a field added later needs a default or a migration.",
    ),
    "changes a field of ZeroG's": (
        'document["priority"] = 9',
        "fails",
        None,
        "ValueError: it changed priority, which only the engine may write",
    ),
    "exits": ("sys.exit(3)", "fails", None, "SystemExit: 3"),
    "is interrupted": ("raise KeyboardInterrupt", "fails", None, "KeyboardInterrupt"),
    "ends the process": ("os._exit(3)", "fails", None, "its code ends the process (exit code 3)"),
    "kills the process": (
        "os.kill(os.getpid(), signal.SIGKILL)",
        "fails",
        None,
        "its code ends the process (signal 9)",
    ),
    "hangs": ("time.sleep(1000)", "fails", None, "its code hangs: no answer within 0.5 s"),
    "hangs in a way that can't be interrupted": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))\nwhile True: pass",
        "fails",
        None,
        "its code hangs: no answer within 0.5 s",
    ),
}

ALIKE = {
    "changes a shared object",
    "drops a value below a field",
    "forgets a required field",
    "hangs",
    "is interrupted",
    "kills the process",
    "leaves a field that nothing reads",
    "makes a value of another type",
}
"""Those that are found in the way of another one."""


@pytest.mark.parametrize("mistake", [*(name for name in MISTAKES if name not in ALIKE), *wide(*sorted(ALIKE))])
def test_a_mistake_is_found_before_a_document_changes(mistake: str, deploy: Deploy, old: zerog.App) -> None:
    """With one sentence that names type, version, field and reason, and the job; a sound job passes beside it."""
    step, kind, field, reason = MISTAKES[mistake]
    deploy.change(f'if document["options"]:\n    {step.replace(chr(10), chr(10) + "    ")}')
    bad = deploy.submitted(old, options={"a": 1, "b": 2})
    deploy.submitted(old)
    before = old.datastore.read_with_cas(make_key(bad))
    report = rehearsed("after:app", "--timeout", "0.5")
    [finding] = report["findings"]
    assert (finding["jobType"], finding["schemaVersion"], finding["kind"]) == ("invoice", "1.0", kind)
    assert (finding["field"], finding["count"], finding["uuids"]) == (field, 1, [bad])
    assert reason in finding["reason"]
    assert report["types"][0]["migrates"] == (1 if kind == "fails" else 2)
    assert old.datastore.read_with_cas(make_key(bad)) == before


def test_the_text_has_the_same_sentence(deploy: Deploy, old: zerog.App) -> None:
    """With the jobs below, and what to make of it at the end."""
    deploy.change('document.pop("colour")')
    uuids = [deploy.submitted(old) for _ in range(7)]
    result = rehearse("after:app")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "TYPE     VERSION  DOCUMENTS  FITS  MIGRATES  FAILS",
        "invoice      1.0          7     0         7      0",
        "! invoice 1.0: 7 lose a value: colour is dropped: version 2.0 is the same whatever its value was",
        *(f"    {uuid}" for uuid in uuids[:5]),
        "    and 2 more",
        "7 documents tried, nothing written: needs attention.",
    ]


def test_a_sound_change_passes(deploy: Deploy, old: zerog.App) -> None:
    """Whatever the names of its fields become; with the code that is deployed the documents fit."""
    deploy.submitted(old)
    assert rehearse("after:app").stdout.splitlines()[1:] == [
        "invoice      1.0          1     0         1      0",
        "1 document tried, nothing written: all well.",
    ]
    assert rehearsed("before:app")["types"][0]["fits"] == 1


@pytest.mark.parametrize("name", ["colour", "invoice.colour"])
def test_a_loss_that_is_meant_is_no_finding(name: str, deploy: Deploy, old: zerog.App) -> None:
    """Of this field of this type alone."""
    deploy.change('document.pop("colour")')
    deploy.submitted(old)
    assert rehearse("after:app", "--dropped", name).exit_code == 0
    assert rehearse("after:app", "--dropped", f"other.{name}").exit_code == 1


def test_what_is_printed_is_named_and_no_finding(deploy: Deploy, old: zerog.App) -> None:
    deploy.change('print("moving", document["cents"])')
    deploy.submitted(old)
    result = rehearse("after:app")
    assert "! invoice 1.0: the code prints to standard output, for 1 of them" in result.stdout
    assert (result.exit_code, "moving" in result.stdout) == (0, False)


def test_code_that_ends_the_process_again_and_again_is_tried_no_more(deploy: Deploy, old: zerog.App) -> None:
    """The rest of that type and version is named as not tried, and others are."""
    deploy.change("os._exit(1)")
    for _ in range(5):
        deploy.submitted(old)
    new = zerog.App(deploy.url)
    new.register(old.job_class("invoice"))
    old.datastore.mutate(make_key(deploy.submitted(old)), [Set("schemaVersion", 3.0)])
    result = rehearse("after:app")
    assert "! invoice 1.0: 2 weren't tried, after what others had done" in result.stdout
    assert "has schemaVersion 3.0; this code knows up to 2.0" in result.stdout
    new.close()


def test_a_made_up_value_blames_no_document(deploy: Deploy, old: zerog.App) -> None:
    """Losses are found by other values in place of the stored ones; code that they end says nothing of the job."""
    deploy.change('if document["cents"] != 250: os._exit(1)\ndocument.pop("colour")')
    for _ in range(5):
        deploy.submitted(old)
    report = rehearsed("after:app")
    assert (report["types"][0]["migrates"], report["findings"]) == (5, [])


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("fields.String(load_default=lambda: str(next(NUMBERS)))", "changes", "differs when the code of a field"),
        ("fields.Float(load_default=time.time)", "clock", "from the code of a field a year later"),
        ("fields.Integer(load_default=1)", "changes", "changes again each time that the job is read and stored"),
    ],
    ids=["counts", "clock", "second pass"],
)
def test_fields_are_tried_like_migrations(code: str, kind: str, reason: str, deploy: Deploy, old: zerog.App) -> None:
    """A default that each read computes, and a class whose objects count how often they are made."""
    init = (
        "def __init__(self, *parts, **fields):\n        super().__init__(*parts, **fields)\n        self.extra += 1\n"
    )
    text = AFTER.format(url=deploy.url, step="").replace("fields.Raw(load_default=None)", code)
    (deploy.folder / "after.py").write_text(
        text.replace("def run", f"{init if 'changes again' in reason else ''}\n    def run")
    )
    deploy.submitted(old)
    [finding] = rehearsed("after:app")["findings"]
    assert (finding["kind"], finding["field"]) == (kind, "extra")
    assert reason in finding["reason"]


def test_a_secret_is_never_shown(deploy: Deploy, old: zerog.App) -> None:
    text = AFTER.format(url=deploy.url, step='        document["extra"] = "hunter2"')
    secret = 'fields.Integer(load_default=1, metadata={"secret": True})'
    (deploy.folder / "after.py").write_text(text.replace("fields.Raw(load_default=None)", secret))
    deploy.submitted(old)
    result = rehearse("after:app")
    assert (result.exit_code, "hunter2" in result.stdout) == (1, False)
    assert "it has a secret extra, which is no Integer" in result.stdout


def test_an_unknown_type_and_a_damaged_document_are_findings(deploy: Deploy, old: zerog.App, tmp_path: Path) -> None:
    damaged, foreign = deploy.submitted(old), deploy.submitted(old)
    old.datastore.mutate(make_key(damaged), [Set("priority", "high")])
    old.datastore.mutate(make_key(foreign), [Set("jobType", "parcel")])
    found: dict[Any, Any] = {each["jobType"]: each["reason"] for each in rehearsed("after:app")["findings"]}
    assert "has priority 'high'" in found["invoice"]
    assert found["parcel"] == "no class is registered for the job type 'parcel'. Known: invoice."
    assert len(old.datastore.find(FindQuery()).heads) == 2
