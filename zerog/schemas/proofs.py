"""Decide whether one field takes everything that another one has stored: proved, refuted by an example, or neither."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from zerog.schemas import samples
from zerog.schemas.describe import Described
from zerog.schemas.rebuild import ACCEPT, READ, Model, Opaque, is_same_json
from zerog.schemas.validators import OPAQUE, Validators
from zerog.schemas.wording import shown

_RAW: Described = {"x-field": {"class": "Raw", "allow_none": True}}
_TEXTS = frozenset(("String", "Url", "Email"))
_AS_TEXT = _TEXTS | {"UUID", "Date", "Time", "IP", "IPv4", "IPv6", "IPInterface", "IPv4Interface", "IPv6Interface"}
_FREE = frozenset(("strict", "exploded"))
"""Options that don't change what is read of a value which the same class has stored."""


@dataclass(frozen=True)
class Verdict:
    """The answer for one field; ``example`` and ``problem`` are set if it ``fails``."""

    kind: str
    """``fits``, ``fails`` or ``unknown``."""
    example: Any = None
    problem: str = ""
    becomes: str = ""
    """The value, as JSON, that the example is read as, if it can be read."""

    def words(self, verb: str) -> str:
        """Return what happens to the example: ``"x" can't be read (Not a valid integer.)``, ``1.5 becomes 1``."""
        if self.becomes:
            return f"{shown(self.example)} becomes {self.becomes}"
        return f"{shown(self.example)} {verb} ({self.problem})"


FITS, UNKNOWN = Verdict("fits"), Verdict("unknown")


def verdict(source: Described, target: Described, mode: str) -> Verdict:
    """Return whether ``target`` takes every value that ``source`` stores; ``mode``: READ or ACCEPT."""
    return _verdict(json.dumps(source), json.dumps(target), mode)


@lru_cache(maxsize=2048)
def _verdict(one: str, other: str, mode: str) -> Verdict:
    source, target = json.loads(one), json.loads(other)
    if proves(source, target, mode):
        return FITS
    try:
        model, before = Model("x", target), Model("x", source)
    except Opaque:
        return UNKNOWN
    kind = "unknown" if code(source) else "fails"
    tried = [None] if source["x-field"].get("allow_none") and mode == ACCEPT else []
    for value in [*tried, *samples.values(source, target)]:
        problem = model.problem(mode, value)
        if problem:
            return Verdict(kind, value, problem)
        becomes = _change(before, model, value)
        if becomes:
            return Verdict(kind, value, f"it becomes {becomes}", becomes)
    counted = samples.finite(source) is not None and (mode == READ or code(target) <= code(source))
    return FITS if counted else UNKNOWN


def _change(before: Model, after: Model, value: Any) -> str | None:
    """Return what a value is read as if it is another one than before."""
    if value is None:
        return None
    old, _ = before.reads_as(value)
    new, stored = after.reads_as(value)
    if old == new or _within(value, stored) or str(value) == str(stored):
        return None
    return shown(stored)


def _within(value: Any, stored: Any) -> bool:
    """Return True if a value of JSON is there, at most with further keys in its objects."""
    if isinstance(value, dict) and isinstance(stored, dict):
        return all(key in stored and _within(part, stored[key]) for key, part in value.items())
    if isinstance(value, list) and isinstance(stored, list):
        return len(value) == len(stored) and all(map(_within, value, stored))
    return is_same_json(value, stored)


def code(described: Described) -> frozenset[str]:
    """Return the names of the code in a field and its parts: what a comparison can't see through."""
    spec = described.get("x-field", {})
    found = {*spec.get("opaque", ()), *described.get("x-schema", {}).get("hooks", ())}
    found |= {str(given) for one in spec.get("validators", ()) for name, given in one.items() if name == OPAQUE}
    inner = [*described.get("properties", {}).values()]
    inner += [described.get(name) for name in ("items", "propertyNames", "additionalProperties")]
    for part in inner:
        if isinstance(part, dict):
            found |= code(part)
    return frozenset(found)


def proves(source: Described, target: Described, mode: str) -> bool:
    """Return True if every value that ``source`` stores is one for ``target``, by their descriptions alone."""
    if _essence(source) == _essence(target):
        return True
    old, new = source["x-field"], target["x-field"]
    if "opaque" in old or "opaque" in new:
        return False
    if mode == ACCEPT:
        is_null = bool(old.get("allow_none")) and not new.get("allow_none")
        if is_null or not all(_implied(one, source) for one in new.get("validators", [])):
            return False
    if new["class"] == "Raw":
        return True
    if not _class_takes(old, new, mode):
        return False
    if new["class"] == "List":
        return proves(source["items"], target["items"], mode)
    if new["class"] in ("Dict", "Mapping"):
        return all(proves(_part(source, name), _part(target, name), mode) for name in _DICT)
    if new["class"] == "Nested":
        many = new.get("options", {}).get("many")
        return proves_object(source["items"] if many else source, target["items"] if many else target, mode)
    return new["class"] not in ("Enum", "Boolean", "Constant")


_DICT = ("propertyNames", "additionalProperties")


def _part(described: Described, name: str) -> Described:
    part = described.get(name)
    return part if isinstance(part, dict) and "x-field" in part else _RAW


def _essence(described: Described) -> Described:
    """Return a field without what says nothing about its values."""
    kept = {name: part for name, part in described.items() if name not in ("default", "x-field", "writeOnly")}
    ignored = ("load_default", "dump_default", "required", "secret", "dump_only")
    return {**kept, "x-field": {n: part for n, part in described["x-field"].items() if n not in ignored}}


def proves_object(source: Described, target: Described, mode: str) -> bool:
    """Return True if every object of one nested schema is one for another."""
    old, new = source["properties"], target["properties"]
    if not set(target["x-schema"].get("hooks", ())) <= set(source["x-schema"].get("hooks", ())):
        return False
    gone, added = old.keys() - new.keys(), new.keys() - old.keys()
    is_free = source["x-schema"]["unknown"] == "include"
    if added and is_free:
        return False
    if mode == READ:
        if gone and added:  # it may have been renamed
            return False
    else:
        is_strict = target["x-schema"]["unknown"] == "raise"
        missing = set(target.get("required", ())) - set(source.get("required", ()))
        if missing or (is_strict and (gone or is_free)) or any(new[key]["x-field"].get("dump_only") for key in new):
            return False
    return all(proves(old[key], new[key], mode) for key in old.keys() & new.keys())


def _class_takes(old: Described, new: Described, mode: str) -> bool:
    """Return True if values of one class of marshmallow are read unchanged by another, whatever they are."""
    one, other = old["class"], new["class"]
    options, wanted = old.get("options", {}), new.get("options", {})
    if one == other:
        if one in ("Url", "Email") and mode == READ:
            return True
        if one == "Decimal":
            places = wanted.get("places")
            rest = all(wanted.get(name) == options.get(name) for name in ("allow_nan",))
            return rest and (places is None or options.get("places", places + 1) <= places)
        return {n: v for n, v in options.items() if n not in _FREE} == {
            n: v for n, v in wanted.items() if n not in _FREE
        }
    if other == "String":
        return one in _AS_TEXT or (
            one in ("Decimal", "DateTime", "NaiveDateTime", "AwareDateTime") and not options.get("format")
        )
    if one in _TEXTS and other in _TEXTS:
        return mode == READ
    if one == "Integer" and not options:
        return other in ("Float", "Decimal") and not wanted.get("places")
    return one == "Float" and not options and other == "Decimal" and not wanted.get("places")


def _implied(wanted: dict[str, Any], source: Described) -> bool:
    """Return True if every value of a field passes a validator, since its own ones are as strict."""
    own: Validators = source["x-field"].get("validators", [])
    if wanted in own:
        return True
    [(name, limits)] = wanted.items()
    same = [one[name] for one in own if name in one]
    if name == "Range":
        return any(_is_inside(limits, one) for one in same)
    if name == "Length":
        return any(_is_shorter(limits, one) for one in same)
    if name in ("NoneOf", "ContainsNoneOf"):
        return any(all(choice in one for choice in limits) for one in same)
    if name in ("OneOf", "ContainsOnly"):
        return any(all(choice in limits for choice in one) for one in same)
    return False


def _is_inside(limits: Described, own: Described) -> bool:
    for end, sign in (("min", 1), ("max", -1)):
        if end not in limits:
            continue
        bound, mine = limits[end], own.get(end)
        is_number = type(bound) in (int, float) and type(mine) in (int, float)
        if bound == mine:
            if limits.get(f"{end}Inclusive", True) is False and own.get(f"{end}Inclusive", True):
                return False
        elif not is_number or (mine - bound) * sign < 0:
            return False
    return True


def _is_shorter(limits: Described, own: Described) -> bool:
    low, high = (own.get(end, own.get("equal")) for end in ("min", "max"))
    least, most = (limits.get(end, limits.get("equal")) for end in ("min", "max"))
    return (least is None or (low is not None and low >= least)) and (
        most is None or (high is not None and high <= most)
    )
