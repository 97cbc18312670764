"""``zerog completion``: what a shell offers."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from click.testing import CliRunner

from tests.cli.builders import Shop, without_app, zerog_command
from tests.cli.conftest import Zerog
from tests.marks import wide
from tests.servers import missing
from zerog.cli.root import cli
from zerog.webhooks import new_secret

PLAIN = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}
"""Shells, and how each leaves the user's own settings alone."""

ASK = {
    "bash": """
source "{script}"
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_zerog_completion zerog
printf '%s\\n' "${{COMPREPLY[@]}}"
""",
    # A shell without a terminal has no widgets; this prints what they would offer.
    "zsh": """
autoload -Uz compinit && compinit -u -D
source "{script}"
_describe() {{ print -rl -- ${{${{(P)3}}%%:*}} }}
compadd() {{ print -rl -- ${{(P)@[-1]}} }}
words=({words})
CURRENT=${{#words}}
$_comps[zerog]
""",
    "fish": """
source "{script}"
complete -C {line} | string split -f1 \\t
""",
}


def offered(shell: str, shop: Shop, *words: str, **environment: str) -> set[str]:
    """What a shell offers for the last word."""
    quoted = " ".join(f"'{word}'" for word in ("zerog", *words))
    line = f"'{' '.join(('zerog', *words))}'"
    script = shop.folder / f"completion.{shell}"
    script.write_text(CliRunner().invoke(cli, ["completion", shell]).stdout)
    asked = subprocess.run(
        [shell, *PLAIN[shell], "-c", ASK[shell].format(words=quoted, line=line, script=script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=shop.folder,
        env={**without_app(), "HOME": str(shop.folder), **environment},
    )
    assert asked.stderr == ""
    return set(asked.stdout.split())


@pytest.fixture(params=["bash", *wide("zsh", "fish")])
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        missing(request.param, f"apt-get install {request.param}")
    return str(request.param)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["jo"], {"jobs"}),
        (["jobs", ""], {"ls", "show", "cancel", "edit", "errors", "move", "pause", "resume", "retry", "rm"}),
        (["jobs", "ls", "myapp:app", "--st"], {"--stalled", "--status"}),
        (["jobs", "ls", "--status", "c"], {"cancelled"}),
        (["worker", "myapp:app", "--executor", ""], {"thread", "async", "process"}),
        (["submit", "myapp:app", "w"], {"word_count"}),
        (["submit", "absent:app", "w"], set()),
        (["jobs", "rm", "myapp:app", "--type", ""], {"word_count", "refuse"}),
    ],
)
def test_a_shell_completes(shell: str, shop: Shop, words: list[str], expected: set[str]) -> None:
    """Commands, options, statuses and, once the app is named, its job types; nothing is printed beside."""
    assert offered(shell, shop, *words) == expected


def test_what_is_in_an_app_is_completed(shell: str, shop: Shop) -> None:
    """Parameters not given yet; uuids of jobs to which the command can be done; queues and workers."""
    ended, running, waiting = shop.ended(500), shop.running(), shop.submitted(queue="slow")
    shop.app.fleet.pause("archive")
    assert offered(shell, shop, "submit", "myapp:app", "word_count", "") == {"path="}
    assert offered(shell, shop, "submit", "myapp:app", "refuse", "") == set()
    assert offered(shell, shop, "submit", "myapp:app", "nothing", "") == set()
    assert offered(shell, shop, "jobs", "show", "myapp:app", "") == {ended, running, waiting}
    assert offered(shell, shop, "jobs", "show", "myapp:app", waiting[:-1]) == {waiting}
    assert offered(shell, shop, "jobs", "cancel", "myapp:app", "") == {running, waiting}
    assert offered(shell, shop, "jobs", "cancel", "myapp:app", running, "") == {waiting}
    assert offered(shell, shop, "jobs", "retry", "myapp:app", "") == {ended}
    assert offered(shell, shop, "queues", "pause", "myapp:app", "") == {"archive", "default", "slow"}
    assert offered(shell, shop, "jobs", "ls", "myapp:app", "--queue", "s") == {"slow"}
    assert offered(shell, shop, "workers", "drain", "myapp:app", "") == {"alice"}


def test_hosts_of_web_hooks_are_completed(shell: str, shop: Shop) -> None:
    """As the beginnings of URLs; a whole domain has none."""
    secret = new_secret()
    with (shop.folder / "myapp.py").open("a") as source:
        hosts = {"hooks.example.com": secret, "http://hooks.internal:8080": secret, "*.customers.example": secret}
        source.write(f"\napp.webhooks({hosts})\n")
    assert offered(shell, shop, "submit", "myapp:app", "refuse", "--notify", "https") == {"https://hooks.example.com/"}


def test_job_types_of_the_environment_s_app_are_completed(shell: str, shop: Shop) -> None:
    """ZEROG_APP names the app; its output while it is loaded stays away from the shell."""
    with (shop.folder / "myapp.py").open("a") as source:
        source.write("\nprint('plain,really')\n")
    assert offered(shell, shop, "submit", "re", ZEROG_APP="myapp:app") == {"refuse"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_help_shows_how_to_install_it(zerog: Zerog, shell: str) -> None:
    """The script is printed for each shell, and the help has the line that installs it."""
    assert f"zerog completion {shell}" in zerog("completion", "--help").stdout
    result = zerog_command("completion", shell)
    assert result.returncode == 0
    assert "_ZEROG_COMPLETE" in result.stdout


def test_another_shell_is_refused(zerog: Zerog) -> None:
    """The ones that work are named."""
    result = zerog("completion", "tcsh")
    assert (result.exit_code, "fish" in result.stderr) == (2, True)
