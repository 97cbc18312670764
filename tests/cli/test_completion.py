"""``zerog completion``: what a shell offers."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.cli.conftest import Zerog
from tests.cli.kit import Shop, without_app, zerog_command

ASK = """
source <(zerog completion bash)
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_zerog_completion zerog
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def offered(shop: Shop, *words: str, **environment: str) -> set[str]:
    """What bash offers for the last word."""
    quoted = " ".join(f"'{word}'" for word in ("zerog", *words))
    asked = subprocess.run(
        ["bash", "-c", ASK.format(words=quoted)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=shop.folder,
        env={**without_app(), **environment},
    )
    assert asked.stderr == ""
    return set(asked.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["jo"], {"jobs"}),
        (["jobs", ""], {"ls", "show", "cancel", "edit", "retry", "rm"}),
        (["jobs", "ls", "myapp:app", "--st"], {"--status"}),
        (["jobs", "ls", "--status", "c"], {"cancelled"}),
        (["worker", "myapp:app", "--executor", ""], {"thread", "async", "process"}),
        (["submit", "myapp:app", "w"], {"word_count"}),
        (["submit", "absent:app", "w"], set()),
        (["jobs", "rm", "myapp:app", "--type", ""], {"word_count", "refuse"}),
    ],
)
def test_bash_completes(shop: Shop, words: list[str], expected: set[str]) -> None:
    """Commands, options, statuses and, once the app is named, its job types; nothing is printed beside."""
    assert offered(shop, *words) == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_job_types_of_the_environment_s_app_are_completed(shop: Shop) -> None:
    """ZEROG_APP names the app; what it prints while it is loaded stays away from the shell."""
    with (shop.folder / "myapp.py").open("a") as source:
        source.write("\nprint('plain,really')\n")
    assert offered(shop, "submit", "re", ZEROG_APP="myapp:app") == {"refuse"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_help_says_how_to_install_it(zerog: Zerog, shell: str) -> None:
    """The script is printed for each shell, and the line that installs it stands in the help."""
    assert f"zerog completion {shell}" in zerog("completion", "--help").stdout
    result = zerog_command("completion", shell)
    assert result.returncode == 0
    assert "_ZEROG_COMPLETE" in result.stdout


def test_another_shell_is_refused(zerog: Zerog) -> None:
    """The ones that work are named."""
    result = zerog("completion", "tcsh")
    assert (result.exit_code, "fish" in result.stderr) == (2, True)
