"""Several worker processes under one supervisor: replaced when they die, ended together. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import zerog
from tests.acceptance.harness import ROOT, Workers
from tests.processes import alive, stretched


def worker_pids(w: Workers) -> list[int]:
    """The pids of the worker processes that hold a lease record, read from those records."""
    with w.app.datastore.file.reading() as sqlite:
        keys = [key for (key,) in sqlite.execute("SELECT key FROM zerog_documents WHERE key GLOB 'zerog_worker_*'")]
    records = [w.app.datastore.read(key) for key in keys]
    return [record["pid"] for record in records if record and alive(record["pid"])]


@pytest.fixture
def w(tmp_path: Path) -> Workers:
    return Workers(tmp_path, "--processes", "2", "--lease", "2")


@pytest.mark.wide
def test_the_processes_share_the_work_and_end_together(w: Workers) -> None:
    """Two processes run jobs; one SIGTERM to the supervisor ends all, with exit code 0."""
    with w:
        supervisor = w.start()
        pids = w.until(lambda: len(found := worker_pids(w)) == 2 and found)
        uuids = w.app.submit_many("square", ({"number": n, "seconds": 0.01} for n in range(100)))
        assert w.until_ended(100)["succeeded"] == 100
        assert len(uuids) == 100
        supervisor.terminate()
        assert supervisor.wait(20) == 0
        w.until(lambda: not any(map(alive, pids)), 5)


def test_a_killed_worker_is_replaced_and_its_job_continues(w: Workers) -> None:
    """SIGKILL of one process costs time, not work."""
    with w:
        w.start()
        pids = w.until(lambda: len(found := worker_pids(w)) == 2 and found)
        uuids = [w.app.submit("steps", {"steps": 100}).uuid for _ in range(2)]
        w.until(lambda: all(w.app.progress(uuid)["completeness"] > 0.1 for uuid in uuids))
        os.kill(pids[0], signal.SIGKILL)
        replaced = w.until(lambda: len(found := worker_pids(w)) == 2 and found)
        assert pids[1] in replaced
        assert [w.app.wait(uuid, 30).output for uuid in uuids] == [{"steps": 100}] * 2
        assert "SIGKILL" in w.log.read_text()


def test_workers_notice_that_their_supervisor_is_gone(w: Workers) -> None:
    """Killing only the supervisor leaves no worker behind."""
    with w:
        supervisor = w.start()
        pids = w.until(lambda: len(found := worker_pids(w)) == 2 and found)
        w.kill(supervisor)
        w.until(lambda: not any(map(alive, pids)), 20)


@pytest.mark.wide
def test_a_crash_loop_is_logged_and_ends(tmp_path: Path) -> None:
    """Workers that can't live are replaced ever more slowly, then the supervisor gives up with a distinct exit code."""
    (tmp_path / "doomed.py").write_text(
        "import os\nimport sys\nimport zerog\napp = zerog.App('memory://')\nif 'worker' in sys.argv:\n    os._exit(9)\n"
    )
    code = (
        "import sys; from zerog.worker import supervisor as s; s.LONGEST_PAUSE = 0.05; "
        "sys.exit(s.Supervisor([sys.executable, '-m', 'zerog', 'worker', 'doomed:app'], 2, 1.0).run())"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 3
    assert "exit code 9" in result.stderr
    assert "giving up" in result.stderr


def test_a_configuration_error_is_not_repeated(tmp_path: Path) -> None:
    """What can't be started isn't started again; the exit code is the one for wrong use."""
    command = [sys.executable, "-m", "zerog", "worker", "nothing:app", "--processes", "2"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert "no module nothing" in result.stderr


def test_workers_that_are_still_starting_end_well(tmp_path: Path) -> None:
    """A deploy that is reverted at once is no failure: they have no job yet that could be cut off."""
    (tmp_path / "slow.py").write_text("import time\nopen('starting', 'w').close()\ntime.sleep(100)\n")
    command = [sys.executable, "-m", "zerog", "worker", "slow:app", "--processes", "2"]
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}) as supervisor:
        deadline = time.monotonic() + stretched(30)
        while not (tmp_path / "starting").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        supervisor.terminate()
        assert supervisor.wait(20) == 0


READY = r"""
import os, signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
link = socket.socket(fileno=int(os.environ["ZEROG_SUPERVISOR_LINK"]))
number = len(os.listdir(sys.argv[1]))
open(f"{sys.argv[1]}/{number}", "w").close()
link.send(b"READY=1\n")
if number == 0:
    exec(sys.argv[2])
"""

STAYING = READY + "time.sleep(100)"


def supervised(folder: Path, first_does: str) -> subprocess.CompletedProcess[str]:
    """A supervisor of one worker that reports ready; ended once a second one was started, or after 20 s."""
    marks = folder / "marks"
    marks.mkdir()
    command = [sys.executable, "-c", STAYING, str(marks), first_does]
    code = (
        f"import os, sys, threading, time; from zerog.worker import supervisor as s; s.KILL_AFTER = 0.1\n"
        f"def end():\n"
        f"    deadline = time.monotonic() + 20\n"
        f"    while len(os.listdir({str(marks)!r})) < 2 and time.monotonic() < deadline: time.sleep(0.02)\n"
        f"    os.kill(os.getpid(), 15)\n"
        f"threading.Thread(target=end, daemon=True).start()\n"
        f"sys.exit(s.Supervisor({command!r}, 1, 0.1).run())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert len(list(marks.iterdir())) == 2, result.stderr
    return result


def test_a_worker_that_reports_its_end_and_does_not_end_is_replaced(tmp_path: Path) -> None:
    """What keeps it may be a thread that a job left. Its jobs are released, but it would run no further ones."""
    assert "did not end in time" in supervised(tmp_path, 'link.send(b"STOPPING=1\\n")').stderr


def test_a_worker_that_requests_more_time_gets_it(tmp_path: Path) -> None:
    """It waits for its jobs; it is killed only once its requests for more time have stopped."""
    asks = 'link.send(b"STOPPING=1\\nEXTEND_TIMEOUT_USEC=1500000\\n"); time.sleep(1); os._exit(5)'
    recorded = supervised(tmp_path, asks).stderr
    assert "ended with exit code 5" in recorded
    assert "did not end in time" not in recorded


def test_a_worker_that_stops_requesting_time_is_killed(tmp_path: Path) -> None:
    recorded = supervised(tmp_path, 'link.send(b"STOPPING=1\\nEXTEND_TIMEOUT_USEC=500000\\n")').stderr
    assert "did not end in time" in recorded


SUPERVISED = r"""
import errno, os, signal, subprocess, sys, threading, time
from zerog.worker import supervisor as s
exec(sys.argv[2])
def end():
    deadline = time.monotonic() + float(sys.argv[3])
    while len(os.listdir(sys.argv[1])) < int(sys.argv[4]) and time.monotonic() < deadline: time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=end, daemon=True).start()
command = [sys.executable, "-c", sys.argv[5], sys.argv[1], sys.argv[6]]
sys.exit(s.Supervisor(command, int(sys.argv[7]), 0.1).run())
"""


def run_supervisor(
    folder: Path, prepare: str, worker: str, does: str = "", *, seconds: float = 20, starts: int = 99, count: int = 1
) -> tuple[int, str, int]:
    """A supervisor of ``count`` workers, stopped once as many started or the time is over: exit code, log, starts."""
    marks = folder / "marks"
    marks.mkdir()
    result = subprocess.run(
        [sys.executable, "-c", SUPERVISED, *map(str, [marks, prepare, seconds, starts, worker, does, count])],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return result.returncode, result.stderr, len(list(marks.iterdir()))


def test_a_start_that_fails_is_tried_again_and_leaves_the_other_workers_alone(tmp_path: Path) -> None:
    """The system briefly has no process to spare."""
    prepare = """if True:
        popen, number = subprocess.Popen, [0]
        def failing(*args, **kwargs):
            number[0] += 1
            if number[0] in (2, 3): raise BlockingIOError(errno.EAGAIN, "no process is free")
            return popen(*args, **kwargs)
        subprocess.Popen = failing
    """
    code, log, starts = run_supervisor(tmp_path, prepare, STAYING, starts=2, count=2)
    assert (code, starts) == (0, 2), log
    assert log.count("could not be started, trying again") == 2
    assert "killed" not in log


@pytest.mark.wide
def test_workers_that_end_at_once_by_themselves_are_replaced_ever_more_slowly(tmp_path: Path) -> None:
    worker = "import os, sys; open(f'{sys.argv[1]}/{os.getpid()}', 'w').close()"
    code, log, starts = run_supervisor(tmp_path, "", worker, seconds=4)
    assert code == 0
    assert 2 <= starts <= 7, log  # at 0, 0.1, 0.3, 0.7, 1.5 and 3.1 s, without what a start takes


def test_a_worker_that_has_done_its_share_is_replaced_at_once(tmp_path: Path) -> None:
    """However short its life was; a recycled worker is no sign of trouble."""
    worker = (
        "import os, socket, sys; open(f'{sys.argv[1]}/{os.getpid()}', 'w').close()\n"
        "socket.socket(fileno=int(os.environ['ZEROG_SUPERVISOR_LINK'])).send(b'X_ZEROG_RECYCLED=1\\n')"
    )
    code, log, starts = run_supervisor(tmp_path, "s.FIRST_PAUSE = 30", worker, starts=8)
    assert (code, starts >= 8) == (0, True), log


def test_a_replacement_that_can_not_start_affects_no_other_process(tmp_path: Path) -> None:
    """The code on disk is broken, for example: the worker that still runs the older code continues."""
    fails = f"""
while not os.path.exists({str(tmp_path / "ready")!r}): time.sleep(0.01)
os._exit(2)
"""
    does = f"""if True:
        open({str(tmp_path / "ready")!r}, "w").close()
        time.sleep(100)
    """
    prepare = "s.CRASH_LOOP = 2; s.LONGEST_PAUSE = 0.1"
    code, log, starts = run_supervisor(
        tmp_path,
        prepare,
        READY.replace('link.send(b"READY=1\\n")', 'if number == 0: link.send(b"READY=1\\n")') + fails,
        does,
        starts=6,
        count=2,
    )
    assert (code in (0, 1), starts >= 6) == (True, True), log  # 1 if one was just failing at the end
    assert log.count("exit code 2") >= 3
    assert "giving up" not in log


def test_a_worker_that_was_ready_was_not_configured_wrongly(tmp_path: Path) -> None:
    """Whatever code it ends with later, it can be started; another one takes its place."""
    assert "ended with exit code 2" in supervised(tmp_path, "os._exit(2)").stderr


@pytest.mark.parametrize(("is_stopping", "lost"), [(False, 1), (True, 0)])
def test_the_jobs_of_a_killed_worker_run_again_long_before_its_lease_is_over(
    is_stopping: bool, lost: int, tmp_path: Path
) -> None:
    """Its supervisor has seen that it is gone. One that was stopping was not lost."""
    with Workers(tmp_path, "--processes", "2", "--lease", "600", "--grace", "600") as w:
        mark = tmp_path / "started"
        uuid = w.app.submit("deaf", {"started": str(mark), "seconds": 600}).uuid
        w.start()
        w.until(lambda: len(worker_pids(w)) == 2)
        pid = int(w.until(lambda: mark.exists() and mark.read_text()))
        if is_stopping:
            os.kill(pid, signal.SIGTERM)
            w.until(lambda: "is shutting down; its jobs have" in w.log.read_text())
        mark.unlink()
        os.kill(pid, signal.SIGKILL)
        again = int(w.until(lambda: mark.exists() and mark.read_text()))
        job = w.app.get_job(uuid)
        assert (again != pid, job.lost, job.attempts) == (True, lost, 1 + lost)


@pytest.mark.wide
def test_a_job_that_kills_its_worker_each_time_ends(tmp_path: Path) -> None:
    """At once rather than a lease later each time, and by MAX_LOST; the other jobs continue."""
    code = tmp_path / "poison.py"
    code.write_text(
        "import os, signal, zerog\n"
        "class Poison(zerog.BaseJob):\n"
        "    JOB_TYPE = 'poison'\n"
        "    MAX_LOST = 3\n"
        "    def run(self): os.kill(os.getpid(), signal.SIGKILL)\n"
        "class Fine(zerog.BaseJob):\n"
        "    JOB_TYPE = 'fine'\n"
        "    def run(self): return 200\n"
        "app = zerog.App()\n"
        "app.register(Poison, Fine)\n"
    )
    with Workers(tmp_path, "--processes", "2", "--lease", "600", module=None) as w:
        w.app.register(type("Poison", (zerog.BaseJob,), {"JOB_TYPE": "poison", "MAX_LOST": 3, "run": None}))
        w.app.register(type("Fine", (zerog.BaseJob,), {"JOB_TYPE": "fine", "run": None}))
        uuids = [w.app.submit(kind).uuid for kind in ("poison", "fine")]
        w.start(code=code)
        jobs = [w.app.wait(uuid, 60) for uuid in uuids]
        assert [(job.status, job.lost, job.crashes) for job in jobs] == [("failed", 3, 0), ("succeeded", 0, 0)]
