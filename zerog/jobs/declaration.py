"""The declaration of a job class, checked once and turned into loads and dumps.

``Params``, ``State`` and the fields that a ``SCHEMA`` adds are at the top level of the document, so none of them may
have the name of an engine's field or of a method, and none may be declared twice.

A stored value is no client input: it is converted, but validators don't run again when it is read, and null is
accepted. Otherwise a validator that checks the outside world (does the file exist?) would make a waiting job
unreadable. They do run whenever a value is written.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from marshmallow import INCLUDE, RAISE, Schema, ValidationError, fields, missing
from marshmallow.exceptions import RegistryError

from zerog.exceptions import CorruptDocument, InvalidJobClass, InvalidValue
from zerog.jobs import checks, items, secrets
from zerog.jobs.declared_field import OwnField
from zerog.jobs.indexed import Indexed, indexed_fields
from zerog.jobs.migrations import Chain, find_migrations, parse_version
from zerog.jobs.progress import share
from zerog.jobs.schema import TIMESTAMPS, BaseJobSchema
from zerog.jobs.stored import StoredJob
from zerog.jobs.unique import check_unique
from zerog.records.fields import CONTAINERS, DOCUMENTED, ENGINE_FIELDS, FIELDS, HISTORY, NO_ATTRIBUTES, PROTECTED, Kind
from zerog.records.job import Document, is_sound, new_document
from zerog.records.operations import dropped_field
from zerog.support import jsonvalues
from zerog.support.clock import from_text, to_text
from zerog.support.suggestions import close_to

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob

_TYPES: dict[Kind, type | tuple[type, ...]] = {
    Kind.TEXT: str,
    Kind.NAME: str,
    Kind.ENTRY_ID: (int, str),
    Kind.FLAG: bool,
    Kind.COUNT: int,
    Kind.CODE: int,
    Kind.PRIORITY: int,
    Kind.AMOUNT: (int, float),
    Kind.QUEUE_OPTIONS: dict,
    Kind.OBJECT: dict,
}
_ENGINE_TYPES = {name: _TYPES[FIELDS[name].kind] for name in DOCUMENTED if FIELDS[name].kind in _TYPES}
"""The Python types of the engine's fields that a job may set."""

_DROPPED = frozenset(map(dropped_field, HISTORY))


class Declaration:
    """The checked declaration of one job class. Raises InvalidJobClass, which names what to change."""

    def __init__(self, job_class: type[BaseJob], reserved: Iterable[str]) -> None:
        self.job_class = job_class
        self.job_type = checks.job_type_of(job_class)
        self.version = parse_version(job_class.SCHEMA_VERSION)
        self.chain = Chain(self.job_type, self.version, find_migrations(job_class))
        checks.check_methods(job_class)
        self._params = _schema_of(job_class, "Params")
        if job_class.TITLE is not None and not isinstance(job_class.TITLE, str):
            raise InvalidJobClass(f"{job_class.__qualname__}.TITLE is {job_class.TITLE!r:.80}; expected text, or None")
        self._extras = _added_fields(job_class.SCHEMA)
        self._extra_keys = {field.data_key or name for name, field in self._extras.items()}
        checks.check_limits(job_class)
        checks.check_place(job_class)
        self.follower = None if job_class.on_end is StoredJob.on_end else f"{self.job_type}.on_end"
        """Type of the job that calls ``on_end``; None for a class without one."""
        self.discards = job_class.on_discard is not StoredJob.on_discard
        """True if the class has ``on_discard``."""
        self._place = {"queueName": job_class.QUEUE, "priority": job_class.PRIORITY, "follower": self.follower}
        groups = {
            "Params": _declared(job_class, self._params),
            "State": _declared(job_class, _schema_of(job_class, "State")),
            "SCHEMA": self._extras,
        }
        declared = _merge(job_class, groups, set(reserved))
        checks.check_state(job_class, groups["State"])
        for group, own in groups.items():
            for name, field in own.items():
                _check(f"{job_class.__qualname__}.{group} declares {name}", field)
        self.fields = {name: OwnField(name, field) for name, field in declared.items()}
        self._params_schema = (self._params or Schema)()
        self._loaders = {self._params_schema: items.hastened((self._params or Schema)())}
        self._extras_schema = job_class.SCHEMA(only=tuple(self._extras), unknown=RAISE) if self._extras else None
        self.client_schemas = [schema for schema in (self._extras_schema, self._params_schema) if schema is not None]
        """Schemas that together accept a client's parameters."""
        self.rest = job_class._REST
        """The field that takes the parameters which have no field of their own, of a function with ``**kwargs``."""
        self._client = self._extra_keys | ENGINE_FIELDS
        self._by_key = {field.key: field for field in self.fields.values()}
        self._known = ENGINE_FIELDS | self._by_key.keys()
        self.indexed = Indexed(indexed_fields(job_class, self.fields))
        """The fields of ATTRIBUTES."""
        self.secrets = frozenset(field.key for field in self.fields.values() if field.is_secret)
        """Keys of the fields that are never shown."""
        check_unique(job_class, self.client_keys(self._extra_keys), self.secrets)
        self.noted: set[str] = set()
        """Undeclared fields of stored documents that a warning has named in this process."""
        self.attributes = frozenset(f.attribute for f in self.fields.values()) | (ENGINE_FIELDS - NO_ATTRIBUTES)

    def validated(self, data: Mapping[str, Any], partial: Sequence[str] = ()) -> dict[str, Any]:
        """Return the values of a client's parameters; the fields ``partial`` may be missing, and get no default then.

        Raises marshmallow's ValidationError with messages by field.
        """
        if not isinstance(data, Mapping):
            raise ValidationError({"_schema": [f"expected an object of parameters, not {type(data).__name__}"]})
        data = self.gathered(data)
        messages: dict[str, Any] = {
            str(name): ["is set by ZeroG and can't be given by a client."] for name in data if name in ENGINE_FIELDS
        }
        result: dict[str, Any] = {}
        own = {name: value for name, value in data.items() if name in self._extra_keys}
        rest = {name: value for name, value in data.items() if name not in self._client}
        for schema in self.client_schemas:
            part = own if schema is self._extras_schema else rest
            try:
                loaded = self._loaded(schema, part, partial)
            except ValidationError as error:
                messages.update(self._by_given_name(error.normalized_messages()))  # type: ignore[no-untyped-call]
                continue
            for name in loaded.keys() - self.attributes:
                messages[name] = ["Unknown field: the job has no place for it. A fields.Dict takes free parameters."]
            result.update(loaded)
        messages.update(self._not_kept(result))
        if messages:
            for name in self.secrets & messages.keys() & data.keys():
                messages[name] = [secrets.REFUSED]
            raise ValidationError(messages)
        return result

    def gathered(self, data: Mapping[str, Any], stored: Document | None = None) -> Mapping[str, Any]:
        """Return parameters with those that have no field within the one for the rest, if there is such a field.

        ``stored``: the document whose rest they are added to.
        """
        rest = {name: value for name, value in data.items() if name not in self._known}
        if self.rest is None or not rest:
            return data
        before = data.get(self.rest, (stored or {}).get(self.rest) or {})
        if not isinstance(before, Mapping):
            return data
        return {**{name: value for name, value in data.items() if name in self._known}, self.rest: {**before, **rest}}

    def _by_given_name(self, messages: dict[str, Any]) -> dict[str, Any]:
        """Return messages with those of the rest by the names that the client gave."""
        of_rest = messages.get(self.rest or "")
        if not isinstance(of_rest, dict):
            return messages
        named = {name: parts.get("key") or parts.get("value", parts) for name, parts in of_rest.items()}
        return {**{name: part for name, part in messages.items() if name != self.rest}, **named}

    def _loaded(self, schema: Schema, part: Mapping[str, Any], partial: Sequence[str]) -> dict[str, Any]:
        """Return what a schema makes of its part of the parameters; None for a field that a hook removes.

        Raises ValidationError, and InvalidJobClass for a hook that makes what the job has no field for.
        """
        loaded: object = items.load(self._loaders.get(schema, schema), part, partial, self.job_class.MAX_ITEMS)
        where = f"{type(schema).__qualname__} of {self.job_type}"
        if not isinstance(loaded, dict):
            raise InvalidJobClass(
                f"{where} makes {type(loaded).__name__} of a client's parameters; expected the dict of fields. Nothing "
                "was stored."
            )
        added = loaded.keys() - self.attributes
        if added and schema.unknown != INCLUDE:
            raise InvalidJobClass(
                f"{where} has a hook that adds {', '.join(sorted(added))}, for which the job has no field; expected "
                "declared fields alone. Nothing was stored."
            )
        with_default = [name for name, field in schema.load_fields.items() if field.load_default is not missing]
        removed = [self.fields[name].attribute for name in with_default if name not in partial]
        return {**dict.fromkeys(removed), **loaded}

    def _not_kept(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return messages by key for the values that the run would see changed. Raises InvalidValue."""
        messages: dict[str, Any] = {}
        for field in self.fields.values():
            try:
                field.check_kept(result.get(field.attribute))
            except ValidationError as error:
                messages[field.key] = error.messages
        return messages

    def new_attributes(self, now: str, uuid: str | None) -> dict[str, Any]:
        """Return the engine's attributes of a job that isn't stored yet."""
        fresh = {**new_document(self.job_type, self.version, now, uuid), **self._place}
        for name in HISTORY:
            del fresh[name]
        return _with_moments(fresh)

    def marks(self) -> Document:
        """Return the fields of a new job by which the engine knows what its class has."""
        marks: Document = {"onDiscard": {}} if self.discards else {}
        return {**marks, "notify": list(self.job_class.NOTIFY)} if self.job_class.NOTIFY else marks

    def load(self, head: Document) -> tuple[dict[str, Any], Document]:
        """Return the attributes of a stored head, and its undeclared fields.

        Raises CorruptDocument, naming the field.
        """
        attributes = {**head}
        for name in NO_ATTRIBUTES:
            attributes.pop(name, None)
        unknown: Document = {}
        if not head.keys() <= self._known:
            unknown = {key: attributes.pop(key) for key in head if key not in self._known}
        own = {key: attributes.pop(key, missing) for key in self._by_key}
        for name in CONTAINERS:
            if type(value := attributes.get(name)) in (dict, list):
                attributes[name] = jsonvalues.copy(value)
        attributes["completeness"] = share(attributes.get("completeness"))
        for key in TIMESTAMPS:
            value = head.get(key)
            if value is not None:
                try:
                    attributes[key] = from_text(value)
                except (ValueError, TypeError) as error:
                    raise CorruptDocument(
                        f"job {head.get('uuid')} has {key}={value!r:.80}, which is no timestamp; it was left as it is"
                    ) from error
        for field in self.fields.values():
            value = own[field.key]
            if value is missing:
                if field.required:
                    raise CorruptDocument(
                        f"job {head.get('uuid')} of type {self.job_type} has no {field.key}, which is required; a "
                        "field added later needs a default or a migration. The document was left as it is."
                    )
                if field.default is not missing:  # without one the class's own __init__ may have a default
                    attributes[field.attribute] = field.initial()
                continue
            try:
                attributes[field.attribute] = field.load(value)
            except Exception as error:  # a field of the user's own may raise anything
                kind = type(field.declared).__name__
                what = f"{field.key}={value!r:.80}, which is no {kind} ({error})"
                if field.is_secret:
                    what = f"a secret {field.key}, which is no {kind}"
                raise CorruptDocument(
                    f"job {head.get('uuid')} of type {self.job_type} has {what}; the document was left as it is"
                ) from (None if field.is_secret else error)
        return attributes, unknown

    def dump_value(self, name: str, value: Any) -> tuple[str, Any]:
        """Return an attribute's key in the document, and its JSON. Raises InvalidValue."""
        field = self.fields.get(name)
        if field is not None:
            return field.key, field.dump(value)
        if name in TIMESTAMPS:
            return name, None if value is None else to_text(value)
        self.check_engine_value(name, value)
        return name, value

    def check_engine_value(self, name: str, value: Any) -> None:
        """Refuse what would make the document unreadable. Raises InvalidValue, naming the field."""
        jsonvalues.check(value, name)
        kind = _ENGINE_TYPES.get(name)
        if kind is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise InvalidValue(f"{name}={value!r:.80} is no {names}, which {name} must be; it was not stored")
        if not is_sound(name, value):
            raise InvalidValue(f"{name}={value!r:.80} is no value that a job can have; it was not stored")

    def undeclared(self, keys: Iterable[str]) -> list[str]:
        """Return those of a lifted document's fields that neither the class nor the engine knows."""
        return [key for key in keys if key not in self._known and key not in _DROPPED]

    def check_settable(self, name: str) -> None:
        """Refuse a field that a job can't set. Raises AttributeError."""
        if name in HISTORY or name in PROTECTED:
            raise AttributeError(
                f"{name} can't be set by a job: the engine writes it. Use the record_… methods for history, and "
                "cancel, retry or the value that run() returns for the status. Nothing was changed."
            )
        if name not in self.attributes and name not in ENGINE_FIELDS:
            raise AttributeError(
                f"{self.job_class.__name__} has no field {name!r}{self.suggestion(name)}. Nothing was changed."
            )

    def client_keys(self, params: Collection[str]) -> list[str]:
        """Return the keys in the document of a client's parameters: those of Params, and of SCHEMA those given."""
        own = {field.data_key or name for name, field in self._params_schema.fields.items()}
        return [key for key in self._by_key if key in own or (key in self._extra_keys and key in params)]

    def by_key(self, key: str) -> OwnField | None:
        """Return the job's own field with this key in the document, or None."""
        return self._by_key.get(key)

    def validate(self, name: str, value: Any, dumped: Any) -> None:
        """Run the validators of one of the job's own fields."""
        if name in self.fields:
            self.fields[name].validate(value, dumped)

    def suggestion(self, name: str) -> str:
        """Return '; did you mean …?' for a name that isn't declared, or an empty text."""
        close = close_to(name, [*self.fields, *ENGINE_FIELDS])
        return f"; did you mean {close}?" if close else ""


def declaration_of(job_class: type[BaseJob]) -> Declaration:
    """Return the checked declaration of a class, made once. Raises InvalidJobClass."""
    declaration = job_class.__dict__.get("_zerog_declaration")
    if declaration is None:
        declaration = Declaration(job_class, job_class._RESERVED)
        job_class._zerog_declaration = declaration  # type: ignore[attr-defined]
    return declaration


def engine_attributes(fields: Document) -> dict[str, Any]:
    """Convert stored engine fields to the Python values of a job's attributes."""
    return _with_moments({name: value for name, value in fields.items() if name not in NO_ATTRIBUTES})


def _with_moments(attributes: dict[str, Any]) -> dict[str, Any]:
    for name in TIMESTAMPS:
        value = attributes.get(name)
        if value is not None:
            attributes[name] = from_text(value)
    return attributes


def _schema_of(job_class: type[BaseJob], name: str) -> type[Schema] | None:
    schema = getattr(job_class, name, None)
    if schema is not None and not (isinstance(schema, type) and issubclass(schema, Schema)):
        raise InvalidJobClass(f"{job_class.__qualname__}.{name} is {schema!r}; expected a marshmallow Schema class")
    return schema


def _declared(job_class: type[BaseJob], schema: type[Schema] | None) -> dict[str, fields.Field[Any]]:
    try:
        return {} if schema is None else dict(schema().fields)
    except Exception as error:  # schemas are code, and marshmallow checks some of it only now
        raise InvalidJobClass(
            f"{job_class.__qualname__} has a schema that can't be made ({type(error).__name__}: {error})"
        ) from error


def _added_fields(schema: type[BaseJobSchema]) -> dict[str, fields.Field[Any]]:
    base = BaseJobSchema._declared_fields
    added = [name for name, field in schema._declared_fields.items() if base.get(name) is not field]
    bound = schema().fields
    return {name: bound[name] for name in added}


def _check(where: str, field: fields.Field[Any]) -> None:
    try:
        checks.check_storable(where, field)
        secrets.check_marks(where, field)
    except RegistryError as error:
        raise InvalidJobClass(
            f"{where}, whose nested schema isn't there ({error}); the class was not registered"
        ) from error
    except InvalidJobClass:
        raise
    except Exception as error:  # nested schemas are made only now, and are code
        raise InvalidJobClass(
            f"{where}, whose nested schema can't be made ({type(error).__name__}: {error}); the class was not "
            "registered"
        ) from error


def _merge(
    job_class: type[BaseJob], groups: dict[str, dict[str, fields.Field[Any]]], reserved: set[str]
) -> dict[str, fields.Field[Any]]:
    """Return all own fields, by name. Raises InvalidJobClass for a name that is taken."""
    merged: dict[str, fields.Field[Any]] = {}
    seen: dict[str, str] = {}
    parameters = checks.parameters_of(job_class)
    for group, declared in groups.items():
        for name, field in declared.items():
            for taken in {name, field.data_key or name, field.attribute or name}:
                where = f"{job_class.__qualname__}.{group} declares {name}"
                better = f"call it job{name[:1].upper()}{name[1:]}, for example"
                if taken in ENGINE_FIELDS:
                    raise InvalidJobClass(f"{where}, but {taken} is a field of every job; {better}")
                if taken in reserved or taken.startswith("_"):
                    raise InvalidJobClass(f"{where}, but {taken} is a name of BaseJob itself; {better}")
                if _is_method(job_class, taken):
                    raise InvalidJobClass(f"{where}, but {taken} is a method of {job_class.__qualname__}; {better}")
                if taken in parameters:
                    raise InvalidJobClass(f"{where}, but {taken} is a parameter of {parameters[taken]}; {better}")
                if taken in seen:
                    raise InvalidJobClass(f"{where}, which {seen[taken]} has already; a field is declared once")
            seen.update(dict.fromkeys({name, field.data_key or name, field.attribute or name}, f"its {group}"))
            merged[name] = field
    return merged


def _is_method(job_class: type[BaseJob], name: str) -> bool:
    """Return True if a field of this name would hide a method or property of the class."""
    found = inspect.getattr_static(job_class, name, None)
    return inspect.isroutine(found) or isinstance(found, (property, staticmethod, classmethod))
