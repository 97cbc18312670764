"""Texts, names, URLs and document fields that have broken terminals, logs, shells and pages of other programs.

Tests run them through every command, both log formats and the pages of the examples. ``unsafe`` is what each of them
checks: what a terminal or a reader of a log would take for something other than text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

FORGED = "2026-01-01T00:00:00.000Z ERROR forged"
"""A line that looks like one of the worker's plain log."""

TEXTS = {
    "clears the screen": "\x1b[2J\x1b[1;1H",
    "sets the title": "\x1b]0;owned\x07",
    "links elsewhere (OSC 8)": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "writes the clipboard (OSC 52)": "\x1b]52;c;cm0gLXJmIH4=\x07",
    "C1 controls": "\x9b2J\x9d0;owned\x9c\x85next",
    "overwrites the line": "a\rb\x08\x08\x7f",
    "other line ends": "a\x0bb\x0cc\u2028d\u2029e",
    "reversed": "\u202eelif.exe\u202c \u2066x\u2069 \u200e\u200f\u061c",
    "reversed to the end": "\u202eexe.elif",
    "invisible": "a\u200bb\ufeffc\u00add\U000e0041",
    "lone surrogate, as storable": "\\ud800",
    "rich markup": "[/red] [bold]x[/bold] [link=http://evil.example]y[/link] [red",
    "emoji code": ":warning: :skull:",
    "format strings": "%s %(x)s %n {y} {0.__class__} ${HOME}",
    "forged line": f"x\n{FORGED}\r\n{FORGED}",
    "indented forged line": f"x\n    {FORGED}",
    "shell": '\'; touch canary; echo `touch canary` $(touch canary) "$(touch canary)" & touch canary #',
    "HTML": "</script><script>window.owned=1</script><img src=x onerror=window.owned=1>&lt;\"'",
    "URL": "javascript:window.owned=1",
    "path": "../../../../etc/passwd\x00.txt",
    "formula": '=HYPERLINK("http://evil.example")',
    "long": "x" * 5000,
    "combining": "z" + "\u0301" * 200,
}
"""What a client, a job, a document or a record may contain, by what it tries."""

NAMES = [
    "'; touch canary; '",
    "$(touch canary)",
    "`touch canary`",
    "a b",
    "-x",
    "--help",
    "a:b",
    "{a}*?",
    "[red]x[/red]",
    "%s{}",
    "ü中😀",
    "<img src=x onerror=window.owned=1>",
    "..",
    "a/../b",
]
"""Names that queues and workers may have: each of one line, without control characters."""

FIELDS: dict[str, list[Any]] = {
    "jobType": list(TEXTS.values()),
    "schemaVersion": ["\x1b[2J", [], {}],
    "completeness": ["\x1b[2J", -1, 1e308, None],
    "resultCode": ["\x1b[2J", 10**18],
    "createdAt": ["\x1b[2J", "9999-99-99", 0],
    "finishedAt": ["\x1b[2J\nx", "0001-01-01T00:00:00+00:00"],
    "attempts": ["\x1b[2J", -1],
    "errorCount": ["\x1b[2J\nx"],
    "queueName": [f"\x1b[2J\n{FORGED}", 7],
    "priority": ["\x1b[2J", 10**18],
    "owner": ["\x1b[2J", {"worker": f"\x1b]0;x\x07\n{FORGED}", "nonce": "n"}, {"worker": {"\x1b": 1}}],
    "lastError": [{"msg": f"\x1b[2J\n{FORGED}", "errorCode": "\x1b[2J"}, "\x1b[2J"],
    "events": [[{"timestamp": "\x1b[2J", "msg": f"\x1b[2J\n{FORGED}", "\x1b[2J": "\x9b1m"}], ["\x1b[2J"]],
    "headers": [{f"\x1b[2J\n{FORGED}": f"\x1b[2J\n{FORGED}"}, "\x1b[2J"],
    "output": [{"\x1b[2J": "[red]"}, f"\x1b[2J\n{FORGED}"],
    f"\x1b[2J\n{FORGED}": ["the name of a field"],
    "cancelRequested": ["\x1b[2J"],
    "uuid": ["\x1b[2J; touch canary", "-x"],
    "logId": [f"\x1b[2J\n{FORGED}"],
    "status": ["\x1b[2J"],
}
"""Values of a document's fields as a damaged or foreign document may hold them."""

PASSWORDS = ["", *"@/?#:%[]\\ é\u2100,+;\n", "%41", "&x=", "://", "a/b?c#d@e"]
"""What people write before and behind the rest of a password in a URL, forgetting to encode it."""

LOGINS = [
    "{scheme}://u:{password}@h:1/0",
    "{scheme}://:{password}@h/0?x=1",
    "{scheme}://{password}@h/0",
    "{scheme}://u:{password}@h,g:2/b/s/c",
    "{scheme}://u:{password}@h/0#x",
    "{scheme}:///u:{password}@h/0",
    "{scheme}:/u:{password}@h/0",
    "{scheme}:u:{password}@h/0",
    "{scheme}//u:{password}@h/0",
    " {scheme}://u:{password}@h/0",
    "{scheme}://u:{password}@[::1]:x/0",
    "{scheme}://u:{password}@h:99999999/0",
    "u:{password}@h/0",
]
"""URLs with a password, as they are written and mistyped."""

_OF_A_TERMINAL = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[\d*[AK]|\r")
"""Colours, and the cursor movements of a live bar: what the commands themselves write to a terminal."""


def unsafe(printed: str, terminal: bool = False) -> str:
    """Return the characters of a text that no output may contain, ``terminal``: but for the commands' own colours."""
    text = _OF_A_TERMINAL.sub("", printed) if terminal else printed
    return "".join(char for char in text if char != "\n" and unicodedata.category(char) in _NO_TEXT)


_NO_TEXT = ("Cc", "Cf", "Cs", "Zl", "Zp")


def forged(printed: str, terminal: bool = False) -> list[str]:
    """Return the lines that a text of the corpus has made."""
    text = _OF_A_TERMINAL.sub("", printed) if terminal else printed
    return [line for line in text.splitlines() if line.startswith(FORGED[:24])]
