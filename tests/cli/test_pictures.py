"""The program that draws what commands print."""

from __future__ import annotations

from rich.terminal_theme import DEFAULT_TERMINAL_THEME

from tests.cli.builders import Shop
from tests.cli.pictures import draw, shown
from tests.cli.terminal import watched


def test_it_draws_the_screen_at_its_last(shop: Shop) -> None:
    """A bar that was drawn anew again and again is there once, as it was last."""
    shop.ended()
    printed = watched(shop.folder, 80, None, "progress", "myapp:app", shop.ended(), "--follow")
    lines = [line.plain for line in shown(printed, 80)]
    assert [line.split()[:2] for line in lines if "word_count" in line][-1] == ["word_count", "succeeded"]
    assert sum("━" in line for line in lines) == 1
    assert not any("\x1b" in line for line in lines)


def test_lines_are_cut_where_a_terminal_cuts_them() -> None:
    assert [line.plain for line in shown("abcdef\r\ngh", 4)] == ["abcd", "ef", "gh", ""]


def test_colours_are_drawn() -> None:
    drawn = draw("a title", shown("\x1b[31mfailed\x1b[0m", 80), 80, DEFAULT_TERMINAL_THEME)
    assert ">failed</text>" in drawn and "#800000" in drawn and "a&#160;title" in drawn.replace(" ", "&#160;")
