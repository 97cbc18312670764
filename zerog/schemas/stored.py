"""Stored schemas: the description of each type beside the jobs, so that documents explain themselves without the code.

One document a type holds a description for each version and hash, with the builds that use it, as text: its keys are
those of other people's documents, which a datastore might not take. A directory names the types.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from zerog.backends.urls import open_engine
from zerog.engine.cas import Attempts
from zerog.engine.engine import Engine
from zerog.exceptions import ConfigurationError, CorruptDocument
from zerog.records.job import Document
from zerog.records.keys import SCHEMAS, schema_key
from zerog.records.worker import read_record
from zerog.schemas.compare import compare
from zerog.schemas.describe import Described, hash_of
from zerog.schemas.documents import merged
from zerog.schemas.findings import DOCUMENTS, Finding, Level
from zerog.support.clock import SYSTEM, to_text
from zerog.support.urls import without_secrets

MOST_TYPES, MOST_SCHEMAS, MOST_BUILDS = 1_000, 30, 10
"""Types, schemas of a type, and builds of a schema that are kept; the latest ones of the latter two."""

LONGEST = 60_000
"""Characters of a schema; a longer one isn't stored."""


class Stored(NamedTuple):
    """One stored schema."""

    described: Described
    hash: str
    builds: list[str]
    """The builds that have it, the latest last."""
    first_at: str


class Clash(NamedTuple):
    """Two schemas of one type under one version, of which the later doesn't read what the earlier has stored."""

    earlier: Stored
    later: Stored
    finding: Finding

    def __str__(self) -> str:
        one, other = (f"build {each.builds[-1]}" if each.builds else "a build" for each in (self.earlier, self.later))
        return (
            f"type {self.later.described['jobType']} has two schemas under version "
            f"{self.later.described['schemaVersion']}, of {one} and of {other}: {self.finding.what}"
        )


class StoredSchemas:
    """The schemas in the datastore of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._datastore = engine.datastore

    def record(self, described: Iterable[Described], build: str | None) -> list[Clash]:
        """Store what isn't stored yet; return where a type differs from what its version was before.

        Writes nothing if all is there. Raises the errors of the datastore.
        """
        new = {_name(one["jobType"]): one for one in described if len(_text(one)) <= LONGEST}
        if not new:
            return []
        named = self._list({name: one["jobType"] for name, one in new.items()})
        found = (self._record(name, one, build) for name, one in new.items() if name in named)
        return [clash for stored, one in found if (clash := clash_of(stored, one)) is not None]

    def of_type(self, job_type: str) -> list[Stored]:
        """Return the schemas of a type, the latest last; none if its document can't be read."""
        return _stored_in(read_record(self._datastore, schema_key(_name(job_type))).fields)

    def all(self) -> dict[str, list[Stored]]:
        """Return all schemas by type. What can't be read is left out."""
        names = _types_in(read_record(self._datastore, SCHEMAS).fields)
        heads, _ = self._datastore.read_heads([schema_key(name) for name in names])
        found = {stored[-1].described["jobType"]: stored for head in heads.values() if (stored := _stored_in(head))}
        return dict(sorted(found.items()))

    def _list(self, types: dict[str, str]) -> dict[str, str]:
        """Name types in the directory, as far as there is room; return all that it names."""
        attempts = Attempts(self._datastore, SCHEMAS, self._engine.clock)
        while True:
            record, token = self._read(SCHEMAS)
            before = _types_in(record)
            after = dict(list({**before, **types}.items())[:MOST_TYPES])
            if after == before:
                return after
            with attempts:
                self._datastore.set_with_cas(SCHEMAS, {"documentType": SCHEMAS, "types": after}, token or 0)
                return after

    def _record(self, name: str, described: Described, build: str | None) -> tuple[list[Stored], Stored]:
        key = schema_key(name)
        attempts = Attempts(self._datastore, key, self._engine.clock)
        while True:
            record, token = self._read(key)
            before = _stored_in(record)
            mine = hash_of(described)
            known = next((one for one in before if one.hash == mine), None)
            entry = known or Stored(described, mine, [], to_text(self._engine.now()))
            if build is not None and build not in entry.builds:
                entry = entry._replace(builds=[*entry.builds, build][-MOST_BUILDS:])
            if entry == known:
                return before, entry
            after = [*(one for one in before if one.hash != mine), entry][-MOST_SCHEMAS:]
            with attempts:
                self._datastore.set_with_cas(key, _document(described["jobType"], after), token or 0)
                return after, entry

    def _read(self, key: str) -> tuple[Document, int] | tuple[None, None]:
        try:
            return self._datastore.read_with_cas(key)
        except CorruptDocument:
            self._datastore.delete(key)
            return None, None


def stored_at(url: str) -> dict[str, list[Stored]]:
    """Return the schemas in the datastore at a URL, by type. Raises ConfigurationError, and the datastore's errors."""
    engine = open_engine(url, None, SYSTEM)
    try:
        if not engine.datastore.shared:
            raise ConfigurationError(f"{without_secrets(url)} is the memory of one process: nothing is stored there")
        return StoredSchemas(engine).all()
    finally:
        engine.close()


def clash_of(stored: Iterable[Stored], later: Stored) -> Clash | None:
    """Return how a schema differs from an earlier one of its version, if documents of that one are read otherwise."""
    version = later.described["schemaVersion"]
    for earlier in stored:
        if earlier.hash != later.hash and earlier.described["schemaVersion"] == version:
            [found] = compare([earlier.described], [later.described])
            of_documents = [finding for finding in found.findings if finding.role == DOCUMENTS]
            worst = max(of_documents, key=lambda finding: finding.level, default=None)
            if worst is not None and worst.level > Level.NOTE:
                return Clash(earlier, later, worst)
    return None


def clashes(stored: dict[str, list[Stored]]) -> list[Clash]:
    """Return, of the newest version of each type, how the latest schema differs from the ones before."""
    found = []
    for schemas in stored.values():
        newest = max(one.described["schemaVersion"] for one in schemas)
        latest = [one for one in schemas if one.described["schemaVersion"] == newest]
        found.append(clash_of(latest[:-1], latest[-1]))
    return [clash for clash in found if clash is not None]


def latest_of_each(stored: dict[str, list[Stored]]) -> list[Described]:
    """Return the latest schema of each type and version."""
    found = {(name, one.described["schemaVersion"]): one.described for name, many in stored.items() for one in many}
    return list(found.values())


def explained(stored: list[Stored], version: object) -> dict[str, Described]:
    """Return the fields of a type's documents of one version, by key; none if no schema of it is stored."""
    found = [one.described for one in stored if one.described["schemaVersion"] == version]
    return dict(merged(found[-1])["properties"]) if found else {}


def public(stored: list[Stored]) -> frozenset[str]:
    """Return the fields of a type that no stored schema of it marks as secret."""
    fields = [field for one in stored for field in merged(one.described)["properties"].items()]
    return frozenset(key for key, _ in fields) - {key for key, field in fields if field["x-field"].get("secret")}


def _name(job_type: str) -> str:
    """Return a type's name in keys, which may be shorter than the type."""
    return hashlib.sha256(job_type.encode()).hexdigest()[:16]


def _text(described: Described) -> str:
    return json.dumps(described, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _document(job_type: str, stored: list[Stored]) -> Document:
    entries = [
        {"hash": one.hash, "builds": one.builds, "firstAt": one.first_at, "schema": _text(one.described)}
        for one in stored
    ]
    return {"documentType": "zerog_schema", "schemaOf": job_type, "schemas": entries}


def _types_in(record: Document | None) -> dict[str, str]:
    types = (record or {}).get("types")
    return {name: kind for name, kind in types.items() if type(kind) is str} if isinstance(types, dict) else {}


def _stored_in(record: Document | None) -> list[Stored]:
    """Return the schemas in a document; what can't be read counts as absent."""
    entries = (record or {}).get("schemas")
    return [one for entry in entries if (one := _read_entry(entry))] if isinstance(entries, list) else []


def _read_entry(entry: Any) -> Stored | None:
    try:
        described = json.loads(entry["schema"])
        described["jobType"] + "", described["schemaVersion"] + 0.0, described["migrations"] + []
        {**described["params"]["properties"], **described["state"]["properties"]}
        builds = [build for build in entry["builds"] if type(build) is str]
        return Stored(described, str(entry["hash"]), builds, str(entry["firstAt"]))
    except (ValueError, LookupError, TypeError):
        return None
