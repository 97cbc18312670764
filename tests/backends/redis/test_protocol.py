"""The table of the wire protocol holds what the script and its callers use, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from zerog.backends import redis
from zerog.backends.redis.script.protocol import COMMANDS, WORDS

FOLDER = Path(redis.__file__).parent


def lua() -> str:
    return "\n".join(path.read_text() for path in sorted((FOLDER / "script").glob("*.lua")))


def python() -> str:
    return "\n".join(path.read_text() for path in sorted(FOLDER.glob("*.py")))


def test_every_command_of_the_script_is_in_the_table() -> None:
    table = lua().split("local COMMANDS = {")[1].split("\n}")[0]
    assert set(re.findall(r"^  (\w+) = ", table, re.M)) == set(COMMANDS)


def test_every_word_of_the_script_is_in_the_table() -> None:
    assert set(re.findall(r"\b(?:c|each)\.(\w+)", lua())) == set(WORDS)


def test_every_word_that_is_sent_is_in_the_table() -> None:
    literals = re.findall(r'\{"command": [^{}]*\}', python())
    assert len(literals) > 15
    sent = {word for literal in literals for word in re.findall(r'"(\w+)": ', literal)}
    sent |= set(re.findall(r'command\["(\w+)"\]', python()))
    assert sent <= set(WORDS)
    assert set(re.findall(r'"command": "(\w+)"', python())) <= set(COMMANDS)
