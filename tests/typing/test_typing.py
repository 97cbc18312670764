"""The types that a user's checker sees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def mypy(path: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(cache), str(path)]
    return subprocess.run(command, cwd=HERE.parent.parent, capture_output=True, text=True, timeout=110, check=False)


def test_code_that_uses_the_public_api_passes_a_strict_checker(tmp_path: Path) -> None:
    checked = mypy(HERE / "public_api.py", tmp_path / "cache")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import zerog\nx: int = zerog.App('memory://').submit('a').uuid\n")
    assert "Incompatible types in assignment" in mypy(wrong, tmp_path / "cache").stdout
