"""Which parameters of callers of one side the code of the other side accepts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zerog.schemas import samples
from zerog.schemas.describe import Described
from zerog.schemas.documents import narrow
from zerog.schemas.findings import (
    CLIENTS_FIRST,
    NEW_CALLERS,
    OLD_CALLERS,
    TWO_DEPLOYS,
    WORKERS_FIRST,
    Finding,
    Level,
)
from zerog.schemas.proofs import verdict
from zerog.schemas.rebuild import ACCEPT
from zerog.schemas.wording import default_in_words, in_words


def old_callers(old: Described, new: Described) -> list[Finding]:
    """Return what new code refuses of what old callers may send."""
    refused_by_old = {key for key, *_ in _refused(new["params"], old["params"])}
    findings = []
    for key, level, what, example in _refused(old["params"], new["params"]):
        order = None if level < Level.ORDER else TWO_DEPLOYS if key in refused_by_old else CLIENTS_FIRST
        findings.append(_finding(old, OLD_CALLERS, level, key, what, order, example))
    one, other = old["params"]["properties"], new["params"]["properties"]
    for key in sorted(one.keys() & other.keys()):
        before, after = one[key]["x-field"], other[key]["x-field"]
        if before.get("load_default") != after.get("load_default") and not after.get("required"):
            what = (
                f"who leaves {key} out got {default_in_words(one[key])} and gets {default_in_words(other[key])}: while "
                "old and new programs submit, jobs get either"
            )
            findings.append(_finding(old, OLD_CALLERS, Level.LOOK, key, what))
    findings += _hooks(old, new)
    return findings


def new_callers(old: Described, new: Described) -> list[Finding]:
    """Return what old code refuses of what new callers may send."""
    refused_by_new = {key for key, *_ in _refused(old["params"], new["params"])}
    findings = []
    for key, level, what, example in _refused(new["params"], old["params"]):
        order = None if level < Level.ORDER else TWO_DEPLOYS if key in refused_by_new else WORKERS_FIRST
        findings.append(_finding(old, NEW_CALLERS, level, key, what, order, example))
    return findings


def _finding(
    old: Described,
    role: str,
    level: Level,
    key: str | None,
    what: str,
    order: str | None = None,
    example: dict[str, Any] | None = None,
) -> Finding:
    return Finding(old["jobType"], old["schemaVersion"], role, level, key, what, order, example)


def _refused(source: Described, target: Described) -> Iterator[tuple[str | None, Level, str, dict[str, Any] | None]]:
    """Yield the parameters of one side that the other may refuse: key, level, a sentence, an example."""
    sent, taken = source["properties"], target["properties"]
    for key in target.get("required", ()):
        if key not in source.get("required", ()):
            lacking = samples.example(source, without=key)
            yield key, Level.ORDER, f"a submit without {key} is refused: it is required there", lacking
    if source["x-schema"]["unknown"] != "raise" and _refuses_unknown(target):
        what = "a submit with further parameters is refused: here Meta.unknown lets callers send any"
        yield None, Level.ORDER, what, None
    for key in sorted(sent):
        if sent[key]["x-field"].get("dump_only"):
            continue
        if key not in taken or taken[key]["x-field"].get("dump_only"):
            if _refuses_unknown(target):
                what = f"a submit with {key} is refused: it is no parameter there"
                value = samples.first(sent[key])
                is_known = value is not None or sent[key]["x-field"].get("allow_none")
                yield key, Level.ORDER, what, samples.example(source, **{key: value}) if is_known else None
            continue
        found = verdict(sent[key], taken[key], ACCEPT)
        path, one, other, inner = narrow(key, sent[key], taken[key], ACCEPT, found)
        difference = f"{path} is {in_words(one)} here and {in_words(other)} there"
        if found.kind == "fails":
            what = f"{difference}: {inner.words('is refused')}"
            yield key, Level.ORDER, what, samples.example(source, **{key: found.example})
        elif found.kind == "unknown":
            yield key, Level.UNSURE, f"{difference}: whether values are accepted isn't visible in the schemas", None


def _refuses_unknown(params: Described) -> bool:
    return params["x-schema"]["unknown"] == "raise" and "rest" not in params["x-schema"]


def _hooks(old: Described, new: Described) -> list[Finding]:
    one, other = (set(side["params"]["x-schema"].get("hooks", ())) for side in (old, new))
    changed = sorted(one ^ other)
    if not changed:
        return []
    what = f"hooks of Params were added or removed ({', '.join(changed)}): what they accept isn't visible"
    return [_finding(old, OLD_CALLERS, Level.UNSURE, None, what)]
