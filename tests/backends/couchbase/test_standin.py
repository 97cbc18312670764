"""The stand-in for Couchbase Server, through the real SDK: what ZeroG's tests rely on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from tests.backends.couchbase.servers import RunningStandIn, started
from tests.backends.couchbase.standin import subdocument
from tests.backends.couchbase.standin.protocol import LOCKED_CAS, Refused, Status
from zerog.backends.couchbase.server import CouchbaseServer, options, paths, sdk


@pytest.fixture(scope="module")
def stand_in() -> Iterator[RunningStandIn]:
    server = started("--query", "--largest", "200000", "--collection", "s.c")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def server(stand_in: RunningStandIn) -> Iterator[CouchbaseServer]:
    server = CouchbaseServer(stand_in.url(timeout=1))
    yield server
    server.close()


@pytest.fixture
def collection(server: CouchbaseServer) -> Any:
    return server.collection


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def test_documents_and_tokens(collection: Any, key: str) -> None:
    """Inserting what is there, and replacing or removing under another token, is refused; each write has a token."""
    tokens = [collection.insert(key, b'{"a":1.0}').cas]
    assert (collection.get(key).value, collection.get(key).cas) == (b'{"a":1.0}', tokens[0])
    with pytest.raises(sdk.DocumentExistsException):
        collection.insert(key, b"{}")
    tokens.append(collection.replace(key, b"{}", options.ReplaceOptions(cas=tokens[0])).cas)
    tokens.append(collection.upsert(key, b"[]").cas)
    with pytest.raises(sdk.CasMismatchException):
        collection.replace(key, b"{}", options.ReplaceOptions(cas=tokens[0]))
    with pytest.raises(sdk.CasMismatchException):
        collection.remove(key, options.RemoveOptions(cas=tokens[1]))
    assert collection.exists(key).exists
    collection.remove(key, options.RemoveOptions(cas=tokens[2]))
    assert not collection.exists(key).exists
    with pytest.raises(sdk.DocumentNotFoundException):
        collection.get(key)
    assert len(set(tokens)) == 3


def test_many_at_once(collection: Any) -> None:
    for n in range(20):
        collection.upsert(f"many{n}", str(n).encode())
    answer = collection.get_multi([f"many{n}" for n in range(21)])
    assert [answer.results[f"many{n}"].value for n in range(20)] == [str(n).encode() for n in range(20)]
    assert isinstance(answer.exceptions["many20"], sdk.DocumentNotFoundException)


def test_locks(collection: Any, key: str) -> None:
    """A locked document can be read, without its token, and changed under the lock's token only."""
    collection.insert(key, b"{}")
    locked = collection.get_and_lock(key, timedelta(seconds=20))
    assert collection.get(key).cas == collection.lookup_in(key, [paths.exists("a")]).cas == LOCKED_CAS
    with pytest.raises(sdk.DocumentLockedException):
        collection.replace(key, b"[]", options.ReplaceOptions(cas=1))
    collection.replace(key, b'{"b":1}', options.ReplaceOptions(cas=locked.cas))
    assert collection.get(key).cas != LOCKED_CAS
    locked = collection.get_and_lock(key, timedelta(seconds=20))
    collection.unlock(key, locked.cas)
    collection.upsert(key, b"{}")


def test_looking_up_paths(collection: Any, key: str) -> None:
    text = b'{"a":{"b":[1,{"c":"x"}]},"with.dot":null,"list":[]}'
    collection.insert(key, text)
    size = paths.get("$document.value_bytes", xattr=True)
    wanted = [size, paths.get("a.b[1].c"), paths.get("`with.dot`"), paths.count("a.b"), paths.get("a.b[-1]")]
    answer = collection.lookup_in(key, [*wanted, paths.get("nothing"), paths.count("`with.dot`"), paths.get("a.b.c")])
    recorded = [answer.content_as[bytes](n) for n in range(5)]
    assert recorded == [str(len(text)).encode(), b'"x"', b"null", b"2", b'{"c":"x"}']
    for number, error in (
        (5, sdk.PathNotFoundException),
        (6, sdk.PathMismatchException),
        (7, sdk.PathMismatchException),
    ):
        with pytest.raises(error):
            answer.content_as[bytes](number)


def test_changing_paths(collection: Any, key: str) -> None:
    """All changes of a call happen, or none."""
    token = collection.insert(key, b'{"a":1,"list":[0]}').cas
    specs = [
        paths.upsert("a", b"2.0"),
        paths.upsert("b.`c.d`", b'{"x":-0.0}', create_parents=True),
        paths.array_append("list", 1, "ü"),
        paths.remove("list[0]"),
    ]
    answer = collection.mutate_in(key, specs, options.MutateInOptions(cas=token))
    assert collection.get(key).value == '{"a":2.0,"list":[1,"ü"],"b":{"c.d":{"x":-0.0}}}'.encode()
    refused = [
        (paths.remove("nothing"), sdk.PathNotFoundException),
        (paths.array_append("a", 1), sdk.PathMismatchException),
        (paths.upsert("x.y", b"1"), sdk.PathNotFoundException),
        (paths.upsert("a", b"{"), sdk.InvalidValueException),
    ]
    for spec, error in refused:
        with pytest.raises(error):
            collection.mutate_in(key, [paths.upsert("a", b"3"), spec])
    with pytest.raises(sdk.CasMismatchException):
        collection.mutate_in(key, [paths.upsert("a", b"3")], options.MutateInOptions(cas=token))
    with pytest.raises(sdk.DocumentNotFoundException):
        collection.mutate_in("nothing", [paths.upsert("a", b"3")])
    assert collection.get(key).cas == answer.cas
    collection.mutate_in(
        f"{key}2",
        [paths.upsert("a.b", b"1", create_parents=True)],
        options.MutateInOptions(store_semantics=paths.StoreSemantics.UPSERT),
    )
    assert collection.get(f"{key}2").value == b'{"a":{"b":1}}'


def test_limits(collection: Any, key: str) -> None:
    """Sixteen paths a call, thirty-two levels for paths, and a size."""
    collection.insert(key, b'{"a":1}')
    with pytest.raises(sdk.InvalidArgumentException):
        collection.lookup_in(key, [paths.get("a")] * 17)
    with pytest.raises(sdk.InvalidArgumentException):
        collection.mutate_in(key, [paths.upsert("a", b"1")] * 17)
    deep = b'{"a":' + b"[" * 40 + b"]" * 40 + b"}"
    with pytest.raises(sdk.ValueTooDeepException):
        collection.mutate_in(key, [paths.upsert("b", deep)])
    collection.upsert(key, deep)
    with pytest.raises(sdk.PathTooDeepException):
        collection.mutate_in(key, [paths.upsert("b", b"1")])
    with pytest.raises(sdk.PathTooDeepException):
        collection.lookup_in(key, [paths.get("b")]).content_as[bytes](0)
    with pytest.raises(sdk.CouchbaseException) as caught:
        collection.upsert(key, b'"' + b"x" * 200_000 + b'"')
    assert caught.value.error_code == 104


def test_what_is_no_json(collection: Any, key: str) -> None:
    collection.insert(key, b'{"a":')
    with pytest.raises(sdk.DocumentNotJsonException):
        collection.mutate_in(key, [paths.upsert("a", b"1")])
    with pytest.raises(sdk.DocumentNotJsonException):
        collection.lookup_in(key, [paths.get("a")]).content_as[bytes](0)


def test_collections_are_apart(stand_in: RunningStandIn, collection: Any, key: str) -> None:
    collection.insert(key, b"1")
    other = CouchbaseServer(stand_in.url("default/s/c"))
    other.collection.insert(key, b"2")
    assert (collection.get(key).value, other.collection.get(key).value) == (b"1", b"2")
    other.close()


def test_no_update_is_lost_under_tokens(collection: Any, key: str) -> None:
    collection.insert(key, b"0")

    def add(_: int) -> None:
        for _ in range(25):
            while True:
                stored = collection.get(key)
                try:
                    text = str(int(stored.value) + 1).encode()
                    collection.replace(key, text, options.ReplaceOptions(cas=stored.cas))
                    break
                except sdk.CasMismatchException:
                    continue

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(6)))
    assert collection.get(key).value == b"150"


def test_faults_come_when_ordered(stand_in: RunningStandIn, collection: Any, key: str) -> None:
    """The second write to this key is done and not answered; all other writes are."""
    collection.insert(key, b"0")
    stand_in.fail("unanswered", key=key, skip=1)
    collection.upsert(key, b"1")
    with pytest.raises(sdk.AmbiguousTimeoutException):
        collection.upsert(key, b"2")
    assert collection.get(key).value == b"2"
    stand_in.fail("DURABILITY_IMPOSSIBLE", op="SET")
    with pytest.raises(sdk.DurabilityImpossibleException):
        collection.upsert(key, b"3")
    counts = stand_in.heal()
    assert (counts["fault.DURABILITY_IMPOSSIBLE"], collection.get(key).value) == (1, b"2")


def test_unsupported_statements_are_refused(server: CouchbaseServer) -> None:
    with pytest.raises(sdk.ParsingFailedException):
        server.query("SELECT 1", {})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", ["a"]),
        ("a.b[0][-1].c", ["a", "b", 0, -1, "c"]),
        ("`a.b`.c", ["a.b", "c"]),
        ("a.`x``y`[2]", ["a", "x`y", 2]),
        ("0", ["0"]),
    ],
)
def test_paths(path: str, expected: list[str | int]) -> None:
    assert subdocument.parts(path) == expected


@pytest.mark.parametrize("path", ["a.", ".a", "a..b", "`a"])
def test_wrong_paths(path: str) -> None:
    with pytest.raises(Refused) as caught:
        subdocument.parts(path)
    assert caught.value.status == Status.PATH_INVALID
