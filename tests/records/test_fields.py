"""The table of the engine's fields: everything else that is known of a field follows from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import zerog
from tests.backends.redis.servers import shared, valkey
from zerog.jobs.schema import BaseJobSchema
from zerog.jobs.stored import StoredJob
from zerog.records.fields import DOCUMENTED, ENGINE_FIELDS, FIELDS, HISTORY, NO_ATTRIBUTES, PROTECTED

ADDED = '    "rank": Field(Kind.COUNT, 3, is_hot=True, is_scripted=True, is_shown=True),\n'

PROGRAM = """
    import json, sys, zerog
    from zerog.records.operations import Add

    class Ranked(zerog.BaseJob):
        JOB_TYPE = "ranked"
        def run(self):
            return {"saw": self.rank}

    found = []
    for url in sys.argv[1:]:
        app = zerog.App(url)
        app.register(Ranked)
        uuid = app.submit("ranked").uuid
        app.datastore.mutate(f"zerog_job_{uuid}", [Add("rank", 1)])
        zerog.Worker(app).run(burst=True)
        job = app.get_job(uuid)
        try:
            job.update_attrs(rank=9)
        except AttributeError as error:
            refused = type(error).__name__
        loaded = job.SCHEMA().load(job.dump())
        found.append([job.output, app.progress(uuid)["rank"], job.dump()["rank"], loaded["rank"]])
        app.close()
    print(json.dumps([found, refused]))
"""


def test_a_field_is_added_by_one_line_in_the_table(tmp_path: Path) -> None:
    """It has a default, is stored, counted, shown, dumped and loaded, and protected, on every engine."""
    package = tmp_path / "zerog"
    shutil.copytree(Path(zerog.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    table = package / "records" / "fields.py"
    before = '    "completeness": Field('
    text = table.read_text()
    assert text.count(before) == 1
    table.write_text(text.replace(before, ADDED + before))
    urls = ["memory://", f"sqlite:///{tmp_path}/jobs.db"]
    if valkey() is not None:
        urls.append(shared("valkey").url())
    command = [sys.executable, "-c", dedent(PROGRAM), *urls]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path, check=False
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [[[{"saw": 4}, 4, 4, 4]] * len(urls), "AttributeError"]


def test_the_table_the_schema_and_the_attributes_of_a_job_agree() -> None:
    attributes = ENGINE_FIELDS - NO_ATTRIBUTES
    assert set(BaseJobSchema._declared_fields) == attributes
    assert {name for name in StoredJob.__annotations__ if name in ENGINE_FIELDS} == attributes - {"cas", *HISTORY}
    assert set(FIELDS) == PROTECTED | DOCUMENTED
    assert not PROTECTED & DOCUMENTED
