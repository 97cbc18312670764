"""Describe fields and values in a few words."""

from __future__ import annotations

import json
from typing import Any

from zerog.schemas.describe import MADE, Described
from zerog.schemas.validators import OPAQUE


def in_words(described: Described) -> str:
    """Return what a field is: ``Integer from 1 to 9``."""
    spec = described["x-field"]
    kind = str(spec["class"])
    if "opaque" in spec:
        return f"{kind} with code of its own ({', '.join(spec['opaque'])})"
    options = spec.get("options", {})
    if kind == "List":
        kind = f"List of {in_words(described['items'])}"
    elif kind in ("Dict", "Mapping") and isinstance(described.get("additionalProperties"), dict):
        kind = f"Dict of {in_words(described['additionalProperties'])}"
    elif kind == "Nested" and options.get("many"):
        kind = "List of Nested"
    elif kind == "Enum":
        kind = f"Enum of {_values(list(options['members'].values()))}"
    for name in ("format", "places", "strict"):
        if name in options:
            kind += f" ({name} {options[name]})"
    words = [kind, *(_validator(name, given) for one in spec.get("validators", ()) for name, given in one.items())]
    return " ".join(words) + (" or null" if spec.get("allow_none") else "")


def _validator(name: str, given: Any) -> str:
    if name == "Range":
        ends = (("min", "from", "above"), ("max", "to", "below"))
        return " ".join(
            f"{beyond if given.get(f'{end}Inclusive') is False else word} {given[end]}"
            for end, word, beyond in ends
            if end in given
        )
    if name == "Length":
        if "equal" in given:
            return f"of length {given['equal']}"
        return " ".join(
            f"of length {sign} {given[end]}" for end, sign in (("min", ">="), ("max", "<=")) if end in given
        )
    words = {
        "OneOf": "out of",
        "NoneOf": "except",
        "ContainsOnly": "with only",
        "ContainsNoneOf": "with none of",
        "Equal": "equal to",
        "Regexp": "matching",
        OPAQUE: "checked by",
    }
    if name == "Regexp":
        return f"matching {given['pattern']}"
    if name == OPAQUE:
        return f"checked by {given}"
    return f"{words.get(name, name)} {_values(given) if isinstance(given, list) else shown(given)}"


def _values(given: list[Any]) -> str:
    listed = ", ".join(map(shown, given[:8]))
    return f"{listed}, …" if len(given) > 8 else listed


def shown(value: Any) -> str:
    """Return a value as JSON, not too long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:99] + "…"


def default_in_words(described: Described) -> str:
    """Return a field's default: ``5``, ``what shop.jobs.today() makes``, ``no value``."""
    spec = described["x-field"]
    if "load_default" not in spec:
        return "no value"
    default = spec["load_default"]
    return f"what {default[MADE]} makes" if isinstance(default, dict) and MADE in default else shown(default)
