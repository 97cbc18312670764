"""The datastore contract as a model: random sequences of calls, each answer compared with that of a dict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zerog.contracts.datastore import Datastore, FindQuery, RunGuard
from zerog.exceptions import ClaimLost, InvalidValue
from zerog.records.fields import HISTORY
from zerog.records.job import TERMINAL
from zerog.records.operations import Add, Append, Document, Max, Operation, Put, Remove, Set
from zerog.testing.contracts.datastore.values import same

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=8,
)
"""Small values of every kind that a document may hold."""

_TERMED = ["attrs", "lastError", "createdAt"]
_fields = st.sampled_from(
    ["a", "b", "items", "status", "attempts", "completeness", "cancelRequested", *_TERMED, *HISTORY]
)
_numbers = st.integers(-100, 100) | st.floats(-100, 100)
_few = st.one_of(
    st.none(),
    st.integers(-5, 5),
    st.text(max_size=3),
    st.lists(st.integers(0, 9), max_size=3),
    st.dictionaries(st.sampled_from(["x", "type", "fingerprint"]), st.sampled_from(["1", "2.1", "1\0"]), max_size=3),
    json_values,
)
_operations: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Set, _fields, _few),
    st.builds(Add, _fields, _numbers, st.none() | _numbers, st.none() | _numbers),
    st.builds(Max, _fields, _numbers | st.text(max_size=3)),
    st.builds(Append, _fields, _few, st.none() | st.integers(0, 4)),
    st.builds(Remove, _fields),
    st.builds(Put, _fields, st.sampled_from(["x", "y", "é.$"]), st.none() | st.text(max_size=3)),
)
_batches = st.lists(_operations, max_size=4)
_documents = st.dictionaries(_fields, _few, max_size=5)
_nonces = st.sampled_from(["m", "n"])
_keys = st.sampled_from(["zerog_job_a", "zerog_job_b"])


_BY_TERMS = [
    FindQuery(order="oldest", attrs=(("x", "1"),)),
    FindQuery(order="newest", error="1", limit=9),
    FindQuery(order="newest", attrs=(("x", "1"), ("type", "2.1")), status="a"),
]
"""Queries by what the documents have."""


class _Refused(Exception):
    """By the model the datastore must refuse."""


def _applied(document: Document, operations: Sequence[Operation]) -> Document:
    """Return the document after the operations, by the text of the contract alone."""
    after = deepcopy(document)
    for operation in operations:
        field = operation.field
        old = after.get(field)
        match operation:
            case Set(value=value):
                after[field] = deepcopy(value)
            case Remove():
                after.pop(field, None)
            case Append(value=value, keep=keep):
                if old is not None and type(old) is not list:
                    raise _Refused
                entries = [*(old or []), deepcopy(value)]
                dropped = 0 if keep is None else max(0, len(entries) - keep)
                after[field] = entries[dropped:]
                if dropped:
                    after[f"{field}Dropped"] = after.get(f"{field}Dropped", 0) + dropped
            case Put(name=name, text=text):
                if type(old) not in (dict, type(None)):
                    raise _Refused
                others = {member: value for member, value in (old or {}).items() if member != name}
                after[field] = others if text is None else {**others, name: text}
            case Max(value=value):
                if type(old) not in (int, float, str, type(None)):
                    raise _Refused
                if old is not None and (type(old) is str) != (type(value) is str):
                    raise _Refused
                after[field] = value if old is None or value > old else old
            case Add(amount=amount, low=low, high=high):
                if type(old) not in (int, float, type(None)):
                    raise _Refused
                total = (0 if old is None else old) + amount
                total = total if low is None else max(total, low)
                total = total if high is None else min(total, high)
                if type(total) is int and not -(2**63) <= total < 2**63:
                    raise _Refused
                after[field] = total
    return after


def datastore_machine(new_datastore: Callable[[], Datastore]) -> type[RuleBasedStateMachine]:
    """Return a machine class that tests an adapter; ``new_datastore`` returns an empty one each time.

    Run it with ``hypothesis.stateful.run_state_machine_as_test``, or as the ``TestCase`` of the class.
    """

    class DatastoreMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.datastore = new_datastore()
            self.documents: dict[str, Document] = {}
            self.tokens: dict[str, int] = {}
            self.spent: dict[str, list[int]] = {}
            """Every token that a key ever had, oldest first."""
            self.earlier: dict[str, list[Document]] = {}
            """Every document that a key ever had, oldest first."""

        def teardown(self) -> None:
            self.datastore.close()

        def wrote(self, key: str, document: Document, token: int) -> None:
            assert token not in self.spent.setdefault(key, []), "a token came back"
            self.spent[key].append(token)
            self.earlier.setdefault(key, []).append(deepcopy(document))
            self.documents[key], self.tokens[key] = document, token

        @rule(key=_keys, document=_documents)
        def create(self, key: str, document: Document) -> None:
            if key in self.documents:
                with pytest.raises(self.datastore.casException):
                    self.datastore.create(key, document)
            else:
                self.wrote(key, document, self.datastore.create(key, document))

        @rule(key=_keys, document=_documents, which=st.integers(0, 9))
        def set_with_cas(self, key: str, document: Document, which: int) -> None:
            candidates = [self.tokens.get(key, 0), 0, *self.spent.get(key, ())]
            cas = candidates[which % len(candidates)]
            if cas == self.tokens.get(key, 0):
                self.wrote(key, document, self.datastore.set_with_cas(key, document, cas)[1])
            else:
                with pytest.raises(self.datastore.casException):
                    self.datastore.set_with_cas(key, document, cas)

        @rule(key=_keys, document=_documents)
        def set(self, key: str, document: Document) -> None:
            self.wrote(key, document, self.datastore.set(key, document))

        @rule(key=_keys)
        def delete(self, key: str) -> None:
            if self.datastore.can_delete:
                assert self.datastore.delete(key) is (self.documents.pop(key, None) is not None)
                self.tokens.pop(key, None)

        @rule(key=_keys, which=st.integers(0, 9))
        def delete_with_cas(self, key: str, which: int) -> None:
            if not self.datastore.can_delete:
                return
            candidates = [self.tokens.get(key, 0), 0, *self.spent.get(key, ())]
            cas = candidates[which % len(candidates)]
            if key in self.documents and cas != self.tokens[key]:
                with pytest.raises(self.datastore.casException):
                    self.datastore.delete(key, cas=cas)
            else:
                assert self.datastore.delete(key, cas=cas) is (self.documents.pop(key, None) is not None)
                self.tokens.pop(key, None)

        @rule(key=_keys, operations=_batches, stale=st.booleans())
        def mutate(self, key: str, operations: list[Operation], stale: bool) -> None:
            cas = None
            if stale and key in self.spent:
                cas = self.spent[key][0]
            if key not in self.documents or (cas is not None and cas != self.tokens[key]):
                with pytest.raises(self.datastore.casException):
                    self.datastore.mutate(key, operations, cas=cas)
                return
            self.applied(key, operations, {}, cas=cas)

        @rule(key=_keys, nonce=_nonces, is_kept=st.booleans())
        def claim(self, key: str, nonce: str, is_kept: bool) -> None:
            if key in self.documents:
                epoch = (self.documents[key].get("epoch") or 0) + 1
                operations: list[Operation] = [Set("epoch", epoch), Set("seq", 0), Set("owner", {"nonce": nonce})]
                operations += [Set("run", nonce)] if is_kept else []  # without it: an earlier version of the worker
                self.applied(key, operations, {}, cas=self.tokens[key])

        @rule(key=_keys)
        def give_up(self, key: str) -> None:
            if key in self.documents:
                self.applied(key, [Set("owner", None)], {})

        @rule(key=_keys, which=st.integers(0, 9))
        def set_back(self, key: str, which: int) -> None:
            """Roll the document back to an earlier time, as after a fail-over or a restored backup."""
            if key in self.documents:
                document = self.earlier[key][-1 - which % len(self.earlier[key])]
                self.wrote(key, document, self.datastore.set(key, document))

        @rule(key=_keys, operations=_batches, nonce=_nonces, late=st.integers(0, 1), step=st.integers(-1, 2))
        def run_write(self, key: str, operations: list[Operation], nonce: str, late: int, step: int) -> None:
            document = self.documents.get(key, {})
            stored = document.get("seq") or 0
            run = RunGuard((document.get("epoch") or 0) - late, nonce, max(1, stored + step))
            owner = document.get("owner")
            is_named = document.get("run", nonce) == nonce if owner is None else owner["nonce"] == nonce
            if document.get("epoch") != run.epoch or not is_named or run.seq not in (stored, stored + 1):
                with pytest.raises(ClaimLost):
                    self.datastore.mutate(key, operations, run=run)
            elif run.seq == stored:
                assert self.datastore.mutate(key, operations, run=run).token == self.tokens[key]
            elif owner is None:
                with pytest.raises(ClaimLost):
                    self.datastore.mutate(key, operations, run=run)
            else:
                self.applied(key, operations, {"seq": run.seq}, run=run)

        def applied(self, key: str, operations: Sequence[Operation], extra: Document, **fence: Any) -> None:
            try:
                after = {**_applied(self.documents[key], operations), **extra}
            except _Refused:
                with pytest.raises(InvalidValue):
                    self.datastore.mutate(key, operations, **fence)
                return
            answer = self.datastore.mutate(key, operations, **fence)
            assert answer.cancel_requested is (after.get("cancelRequested") is not None)
            assert same(answer.values, {field: after[field] for field in answer.values})
            lists = {operation.field for operation in operations if type(operation) is Append}
            given = {operation.field for operation in operations if type(operation) in (Set, Add, Max, Put)}
            assert given & after.keys() <= answer.values.keys() | lists
            self.wrote(key, after, answer.token)

        @invariant()
        def same_documents(self) -> None:
            for key in ("zerog_job_a", "zerog_job_b"):
                document, token = self.datastore.read_with_cas(key)
                assert same(document, self.documents.get(key))
                assert token == self.tokens.get(key)
                head = self.datastore.read_with_cas(key, head=True)[0]
                if document is not None:
                    document = {f: v for f, v in document.items() if f not in HISTORY or type(v) is not list}
                assert same(head, document)
                found = self.datastore.read_heads([key, "zerog_job_none"])
                assert same(found.found, {} if document is None else {key: document})
                assert not found.unreadable

        @invariant()
        def same_found(self) -> None:
            if not self.datastore.can_find:
                return
            statuses = [each["status"] for each in self.documents.values() if type(each.get("status")) is str]
            if self.datastore.can_find_ended:
                assert len(self.datastore.find(FindQuery()).heads) == len(statuses)
                assert self.datastore.count(FindQuery()) == (len(statuses), False)
            for status in set(statuses) - set(TERMINAL):
                assert len(self.datastore.find(FindQuery(status=status)).heads) == statuses.count(status)
                assert self.datastore.count(FindQuery(status=status)) == (statuses.count(status), False)

        @invariant()
        def same_found_by_terms(self) -> None:
            if not self.datastore.can_find_terms:
                return
            for query in _BY_TERMS:
                fitting = [key for key, each in self.documents.items() if query.place(key, each) is not None]
                heads = [self.datastore.read_with_cas(key, head=True)[0] for key in fitting]
                found = self.datastore.find(query).heads
                assert len(found) == len(heads) and all(any(same(one, other) for other in heads) for one in found)
                assert self.datastore.count(query) == (len(heads), False)

    return DatastoreMachine
