"""Which documents of one side a worker of the other side reads, at the same schema version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zerog.schemas import samples
from zerog.schemas.describe import Described
from zerog.schemas.findings import DOCUMENTS, TWO_DEPLOYS, WORKERS, WORKERS_FIRST, Finding, Level
from zerog.schemas.proofs import Verdict, proves, verdict
from zerog.schemas.rebuild import ACCEPT, READ
from zerog.schemas.wording import default_in_words, in_words

UNREADABLE, UNWRITABLE = "can't be read", "is read, but a run can't write it again"

_FAMILIES = (
    frozenset(("Integer", "Float", "Decimal")),
    frozenset(("String", "Url", "Email", "UUID", "Enum")),
    frozenset(("Date", "DateTime", "NaiveDateTime", "AwareDateTime")),
)
"""Classes of marshmallow between which a field may be converted when it is renamed."""


def is_akin(one: Described, other: Described) -> bool:
    """Return True if one field may be the other under a new name."""
    kinds = {one["x-field"]["class"], other["x-field"]["class"]}
    return len(kinds) == 1 or any(kinds <= family for family in _FAMILIES)


def merged(described: Described) -> Described:
    """Return the fields of a type as they are in its documents: parameters and state side by side."""
    params, state = described["params"], described["state"]
    return {**params, "properties": {**params["properties"], **state["properties"]}}


def new_workers(old: Described, new: Described) -> list[Finding]:
    """Return what new workers make of the documents of old code of the same version."""
    before, after = merged(old), merged(new)
    findings = []
    for key in sorted(before["properties"].keys() | after["properties"].keys()):
        for level, what, example in _of_field(key, before, after):
            shown_as = (
                None
                if example is None
                else {"jobType": old["jobType"], "schemaVersion": old["schemaVersion"]} | example
            )
            findings.append(Finding(old["jobType"], old["schemaVersion"], DOCUMENTS, level, key, what, None, shown_as))
    return findings + attributes(old, new)


def attributes(old: Described, new: Described) -> list[Finding]:
    """Return which ATTRIBUTES were removed or added: by which stored jobs are found."""
    before, after = set(old.get("attributes", ())), set(new.get("attributes", ()))
    texts = {
        name: f"{name} isn't one of ATTRIBUTES any more: new jobs aren't found by it, old ones are"
        for name in before - after
    } | {
        name: f"{name} is new in ATTRIBUTES: stored jobs are found by it once they have been written again"
        for name in after - before
    }
    name, version = old["jobType"], old["schemaVersion"]
    return [Finding(name, version, DOCUMENTS, Level.LOOK, key, what) for key, what in sorted(texts.items())]


_Found = Iterator[tuple[Level, str, dict[str, Any] | None]]


def _of_field(key: str, before: Described, after: Described) -> _Found:
    old, new = before["properties"].get(key), after["properties"].get(key)
    if old is None:
        if key in after.get("required", ()):
            yield Level.BREAKS, f"{key} is required, and old documents don't have it", samples.example(before)
        return
    if new is None:
        yield from _gone(key, old, before, after)
        return
    if key in after.get("required", ()) and key not in before.get("required", ()):
        what = f"{key} is required now, and documents may lack it: it was optional"
        yield Level.BREAKS, what, samples.example(before, without=key)
    yield from _values(key, old, new, before)
    if "load_default" in old["x-field"] and old["x-field"]["load_default"] != new["x-field"].get("load_default"):
        now = default_in_words(new)
        yield (
            Level.LOOK,
            f"the default of {key} was {default_in_words(old)} and is {now}; stored jobs keep the old one",
            None,
        )
    if old["x-field"].get("secret") and not new["x-field"].get("secret"):
        yield Level.LOOK, f"{key} isn't marked as secret any more: what is stored in it is shown from now on", None


def _gone(key: str, old: Described, before: Described, after: Described) -> _Found:
    if heirs := _heirs(key, before, after):
        yield Level.BREAKS, _lost(key, heirs), samples.example(before, **{key: samples.first(old)})
    else:
        yield Level.NOTE, f"{key} isn't declared any more: it stays in old documents, where no run uses it", None


def _heirs(key: str, before: Described, after: Described) -> list[str]:
    """Return the new fields of an object that one which is gone may be now."""
    old, known = before["properties"][key], before["properties"]
    return [name for name, part in sorted(after["properties"].items()) if name not in known and is_akin(old, part)]


def _lost(path: str, heirs: list[str]) -> str:
    return (
        f"{path} isn't declared any more, and {' and '.join(heirs)} is new: if it was renamed, what old documents hold "
        f"in {path} is lost to the run. Raise SCHEMA_VERSION and migrate"
    )


def _renamed(path: str, old: Described, new: Described) -> tuple[str, list[str]] | None:
    """Return the path of a nested schema's field that is gone, and the new ones there that it may be now."""
    one, other = (old.get("items", {}), new.get("items", {})) if _many(old) and _many(new) else (old, new)
    if "properties" not in one or "properties" not in other:
        return None
    dot = "[]." if _many(new) else "."
    gone = ((key, _heirs(key, one, other)) for key in sorted(one["properties"].keys() - other["properties"].keys()))
    return next(((f"{path}{dot}{key}", heirs) for key, heirs in gone if heirs), None)


def _values(key: str, old: Described, new: Described, before: Described) -> _Found:
    read = verdict(old, new, READ)
    path, one, other, found = narrow(key, old, new, READ, read)
    change = f"{path} was {in_words(one)} and is {in_words(other)}"
    if read.kind == "fails":
        what = f"{change}: {found.words(UNREADABLE)}"
        yield Level.BREAKS, what, samples.example(before, **{key: read.example})
    elif read.kind == "unknown" and (renamed := _renamed(path, one, other)):
        yield Level.BREAKS, _lost(*renamed), samples.example(before, **{key: samples.first(old)})
    elif read.kind == "unknown":
        yield Level.UNSURE, f"{change}: whether stored values can be read isn't visible in the schemas", None
    else:
        accepted = verdict(old, new, ACCEPT)
        path, one, other, found = narrow(key, old, new, ACCEPT, accepted)
        change = f"{path} was {in_words(one)} and is {in_words(other)}"
        if accepted.kind == "fails":
            what = f"{change}: a stored {found.words(UNWRITABLE)}"
            yield Level.LOOK, what, samples.example(before, **{key: accepted.example})
        elif accepted.kind == "unknown":
            yield Level.UNSURE, f"{change}: whether the new validators accept stored values isn't visible", None


def narrow(
    path: str, old: Described, new: Described, mode: str, found: Verdict
) -> tuple[str, Described, Described, Verdict]:
    """Return the innermost part of a field that is to blame: its path, both descriptions, the verdict."""
    while True:
        deeper = next(_blamed(path, old, new, mode), None)
        if found.kind == "fits" or deeper is None:
            return path, old, new, found
        path, old, new, found = deeper


def _blamed(
    path: str, old: Described, new: Described, mode: str
) -> Iterator[tuple[str, Described, Described, Verdict]]:
    if "opaque" in old["x-field"] or "opaque" in new["x-field"]:
        return
    if (old["x-field"]["class"], _many(old)) != (new["x-field"]["class"], _many(new)):
        return
    parts: list[tuple[str, Described, Described]] = []
    if _many(new) or "properties" in new:
        one, other = (old["items"], new["items"]) if _many(new) else (old, new)
        dot = "[]." if _many(new) else "."
        both = sorted(one["properties"].keys() & other["properties"].keys())
        parts = [(path + dot + key, one["properties"][key], other["properties"][key]) for key in both]
    elif "items" in new:
        parts = [(f"{path}[]", old["items"], new["items"])]
    elif isinstance(new.get("additionalProperties"), dict) and isinstance(old.get("additionalProperties"), dict):
        parts = [(f"{path}{{}}", old["additionalProperties"], new["additionalProperties"])]
    for inner, one, other in parts:
        found = verdict(one, other, mode)
        if found.kind != "fits":
            yield inner, one, other, found


def _many(described: Described) -> bool:
    return bool(described["x-field"].get("options", {}).get("many"))


def old_workers(old: Described, new: Described) -> list[Finding]:
    """Return what old workers make of the documents of new code."""
    name, version = old["jobType"], old["schemaVersion"]

    def found(level: Level, key: str | None, what: str, order: str | None, example: Any = None) -> Finding:
        shown_as = None if example is None else {"jobType": name, "schemaVersion": version, **example}
        return Finding(name, version, WORKERS, level, key, what, order, shown_as)

    if version != new["schemaVersion"]:
        if version < new["schemaVersion"]:
            what = f"old workers leave documents of version {new['schemaVersion']} alone; they wait for new workers"
            return [found(Level.NOTE, None, what, None)]
        return []
    before, after = merged(old), merged(new)
    findings = []
    for key in sorted(before["properties"].keys() | after["properties"].keys()):
        is_state = key in old["state"]["properties"] or key in new["state"]["properties"]
        order = TWO_DEPLOYS if is_state else WORKERS_FIRST
        one, other = after["properties"].get(key), before["properties"].get(key)
        if other is None:
            if not is_state:
                what = f"{key} is a new parameter: old workers run such jobs without it"
                findings.append(found(Level.ORDER, key, what, WORKERS_FIRST))
        elif key in before.get("required", ()) and key not in after.get("required", ()):
            what = f"{key} is required by old workers, and new documents may lack it"
            findings.append(found(Level.ORDER, key, what, order, samples.example(after, without=key)))
        if one is None or other is None or proves(one, other, READ):
            continue
        result = verdict(one, other, READ)
        path, left, right, inner = narrow(key, one, other, READ, result)
        change = f"{path} is {in_words(left)} and was {in_words(right)}"
        if result.kind == "fails":
            what = f"{change}: for old workers {inner.words(UNREADABLE)}"
            findings.append(found(Level.ORDER, key, what, order, samples.example(after, **{key: result.example})))
        elif result.kind == "unknown":
            what = f"{change}: whether old workers can read new values isn't visible in the schemas"
            findings.append(found(Level.UNSURE, key, what, None))
    return findings
