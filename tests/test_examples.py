"""Every program in ``examples/`` is run by some test, so that none becomes outdated unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "examples").rglob("*.py"))
TESTS = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]


def test_there_are_examples() -> None:
    """If the folder moves, this file tests nothing."""
    assert "examples/web/flask_app.py" in EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_run_by_a_test(example: str) -> None:
    """Whichever test runs an example names its path, from the top of the repository and in quotes."""
    assert any(f'"{example}"' in test.read_text() for test in TESTS), f"no test names {example}"
