"""Write the migration that is missing, for a person to complete."""

from __future__ import annotations

import math

from zerog.schemas.describe import Described
from zerog.schemas.documents import is_akin, merged, narrow
from zerog.schemas.proofs import verdict
from zerog.schemas.rebuild import READ
from zerog.schemas.wording import in_words, shown


def stub(old: Described, new: Described) -> str:
    """Return lines for the class: its version, and a migration from the old one, with what has to be decided."""
    start, end = old["schemaVersion"], new["schemaVersion"]
    if end <= start:
        end = float(math.floor(start) + 1)
    before, after = merged(old), merged(new)
    lines = []
    gone = [key for key in sorted(before["properties"]) if key not in after["properties"]]
    added = [key for key in sorted(after["properties"]) if key not in before["properties"]]
    for key in added:
        part = after["properties"][key]
        heir = next((name for name in gone if is_akin(before["properties"][name], part)), None)
        if heir is not None:
            gone.remove(heir)
            change = f"{in_words(before['properties'][heir])} becomes {in_words(part)}"
            lines.append(f"document[{shown(key)}] = document.pop({shown(heir)}, None)  # if it was renamed; {change}")
        elif key in after.get("required", ()):
            lines.append(f"document[{shown(key)}] = ...  # required, {in_words(part)}: decide for old jobs")
    lines += [f"document.pop({shown(key)}, None)  # not declared any more" for key in gone]
    for key in sorted(before["properties"].keys() & after["properties"].keys()):
        one, other = before["properties"][key], after["properties"][key]
        found = verdict(one, other, READ)
        if found.kind != "fits":
            path, inner, wanted, found = narrow(key, one, other, READ, found)
            example = f", such as {shown(found.example)}" if found.example is not None else ""
            lines.append(
                f"document[{shown(key)}] = ...  # {path}: {in_words(inner)}{example}, becomes {in_words(wanted)}"
            )
        elif key in after.get("required", ()) and key not in before.get("required", ()):
            lines.append(f"document.setdefault({shown(key)}, ...)  # required now")
    body = "\n".join(f"    {line}" for line in lines or ["...  # change what differs"])
    name = f"to_{end:g}".replace(".", "_").replace("-", "_")
    return (
        f'SCHEMA_VERSION = "{end}"\n\n'
        f'@zerog.migration("{start}", "{end}")\n@staticmethod\ndef {name}(document):\n{body}\n    return document'
    )
