"""From a URL to a backend: the table of schemes, and backends that other packages register."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

import zerog
from zerog.backends.urls import DATASTORES, PACKAGES, QUEUES, open_datastore

DICT_STORE = """
    import zerog
    from zerog.backends.backend import Backend


    class DictStore:
        '''The least that a datastore can be: two verbs and two exceptions.'''

        class casException(Exception):
            pass

        class lockedException(Exception):
            pass

        def __init__(self):
            self.stored, self.tokens = {}, iter(range(1, 10**9))

        def read_with_cas(self, key):
            return self.stored.get(key, (None, None))

        def set_with_cas(self, key, value, cas):
            if (self.stored.get(key, (None, 0))[1] or 0) != cas:
                raise self.casException(key)
            self.stored[key] = value, next(self.tokens)
            return True, self.stored[key][1]


    BACKEND = Backend(datastore=lambda url, clock: DictStore())
    NONSENSE = 7
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a package with its own backend importable, as an installation would."""
    (tmp_path / "dict_store.py").write_text(dedent(DICT_STORE))
    info = tmp_path / "dict_store-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dict-store\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[zerog.backends]\ndictstore = dict_store:BACKEND\nnonsense = dict_store:NONSENSE\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


class Double(zerog.BaseJob):
    JOB_TYPE = "double"

    def run(self) -> dict[str, int]:
        return {"doubled": 4}


@pytest.mark.usefixtures("installed")
def test_a_backend_of_another_package_is_found_by_its_scheme() -> None:
    """Two verbs are enough to run jobs on; the queue is another backend's."""
    with zerog.App(datastore="dictstore://here", queue="memory://") as app:
        app.register(Double)
        uuid = app.submit("double").uuid
        zerog.Worker(app).run(burst=True)
        assert app.get_job(uuid).output == {"doubled": 4}


@pytest.mark.usefixtures("installed")
def test_a_part_that_a_backend_has_not_is_an_error() -> None:
    with pytest.raises(zerog.ConfigurationError, match="dictstore://here keeps documents but has no queue"):
        zerog.App("dictstore://here")
    with pytest.raises(zerog.ConfigurationError, match="names no queue"):
        zerog.App(datastore="memory://", queue="dictstore://here")


@pytest.mark.usefixtures("installed")
def test_what_is_no_backend_is_an_error() -> None:
    with pytest.raises(zerog.ConfigurationError, match="dict_store:NONSENSE, which is a int; expected"):
        open_datastore("nonsense://")


def test_a_scheme_that_is_registered_nowhere_is_an_error() -> None:
    with pytest.raises(zerog.ConfigurationError, match="dictstore://here names no datastore; expected a URL beginning"):
        zerog.App("dictstore://here")


def test_every_scheme_has_one_package() -> None:
    schemes = [scheme for each in PACKAGES.values() for scheme in each]
    assert len(schemes) == len(set(schemes))
    assert set(schemes) == {*DATASTORES, *QUEUES}
