"""Uses that a checker must refuse. ``# E:`` names the errors of its line; checked by mypy, never run."""

from __future__ import annotations

import zerog


class Left(zerog.BaseJob):
    JOB_TYPE = "left"

    def run(self) -> None: ...


class Right(zerog.BaseJob):
    JOB_TYPE = "right"

    def run(self) -> str:
        return 5  # E: return-value


app = zerog.App("memory://")
uuid: int = app.submit("left").uuid  # E: assignment
left: Left = app.submit(Right)  # E: assignment
named: Left = app.submit("left")  # E: assignment
found: Left = app.get_job("x", Right)  # E: assignment
waited: Left = app.wait("x", 5, Right)  # E: assignment
plain: Left = app.get_job("x")  # E: assignment
app.submit(int)  # E: type-var
app.submit(Left, ["a"])  # E: arg-type
app.submit(Left, delay="soon")  # E: arg-type
app.submit(Left, dely=5)  # E: call-arg
print(app.submit(Left).nowhere)  # E: attr-defined
app.register("left")  # E: arg-type
app.register(Left())  # E: arg-type call-arg
app.cancel(5)  # E: arg-type
app.resource("db", 5)  # E: arg-type
app.middleware(lambda job: 5)  # E: type-var
zerog.backoff.exponential("30")  # E: arg-type
app.wait("x", timeout="5")  # E: arg-type
app.unregister(Left)  # E: arg-type
zerog.App("memory://", url="memory://")  # E: misc
zerog.Worker(app, concurency=2)  # E: call-arg
zerog.Worker(app, concurrency="2")  # E: arg-type
print(zerog.Worker(app).run(True).all)  # E: attr-defined
zerog.BaseJob(app.datastore, app.queue)  # E: abstract
zerog.JobRegistry().get_class(Left)  # E: arg-type


@app.job("resize")
def resize(job: zerog.BaseJob, path: str, width: int = 100) -> int:
    job.tick(5)  # E: call-arg
    job.stopping = True  # E: misc
    job.update_attrs(False)  # E: call-arg
    job.set_completeness("half")  # E: arg-type
    if width > 5:
        job.raise_error_finish("404", "x")  # E: arg-type
    return width


resize(app.submit("left"), 5)  # E: arg-type
resize(app.submit("left"))  # E: call-arg
width: str = resize(app.submit("left"), "x")  # E: assignment
print(resize.jobs)  # E: attr-defined
resize.job().run()  # E: call-arg


@app.job(base=int)  # E: arg-type
def based(job: zerog.BaseJob) -> None: ...


@app.job(5)  # E: call-overload untyped-decorator
def numbered(job: zerog.BaseJob) -> None: ...
