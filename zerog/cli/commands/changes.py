"""The commands for a change of job classes: compare the code, try it on stored jobs, migrate these."""

from __future__ import annotations

from zerog.cli.commands.migrate import migrate
from zerog.cli.commands.rehearse import rehearse
from zerog.cli.commands.schema import schema

CHANGES = (migrate, rehearse, schema)
