"""ZeroG: long background jobs as objects with documents.

Each name is imported when it is first used (https://peps.python.org/pep-0562/), so that ``import zerog`` and commands
that need no app start without marshmallow and the engine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zerog.support import logger as logger

if TYPE_CHECKING:
    from zerog import backoff as backoff
    from zerog.app import App as App
    from zerog.contracts.find import Count as Count
    from zerog.exceptions import AmbiguousWrite as AmbiguousWrite
    from zerog.exceptions import Cancelled as Cancelled
    from zerog.exceptions import CasMismatch as CasMismatch
    from zerog.exceptions import ClaimLost as ClaimLost
    from zerog.exceptions import ConfigurationError as ConfigurationError
    from zerog.exceptions import CorruptDocument as CorruptDocument
    from zerog.exceptions import DatastoreError as DatastoreError
    from zerog.exceptions import DuplicateJobType as DuplicateJobType
    from zerog.exceptions import InvalidJobClass as InvalidJobClass
    from zerog.exceptions import InvalidUuid as InvalidUuid
    from zerog.exceptions import InvalidValue as InvalidValue
    from zerog.exceptions import JobNotFound as JobNotFound
    from zerog.exceptions import JobStateError as JobStateError
    from zerog.exceptions import Paused as Paused
    from zerog.exceptions import QueueError as QueueError
    from zerog.exceptions import QueueFull as QueueFull
    from zerog.exceptions import ScheduleNotFound as ScheduleNotFound
    from zerog.exceptions import SchemaTooNew as SchemaTooNew
    from zerog.exceptions import SoftTimeout as SoftTimeout
    from zerog.exceptions import TooManyCollisions as TooManyCollisions
    from zerog.exceptions import UnknownJobType as UnknownJobType
    from zerog.exceptions import WorkerNotFound as WorkerNotFound
    from zerog.exceptions import ZerogError as ZerogError
    from zerog.jobs.answers import Info as Info
    from zerog.jobs.answers import Progress as Progress
    from zerog.jobs.base import BaseJob as BaseJob
    from zerog.jobs.base import BaseJobSchema as BaseJobSchema
    from zerog.jobs.base import ErrorContinue as ErrorContinue
    from zerog.jobs.base import ErrorFinish as ErrorFinish
    from zerog.jobs.base import WarningContinue as WarningContinue
    from zerog.jobs.base import WarningFinish as WarningFinish
    from zerog.jobs.migrations import migration as migration
    from zerog.maintenance.rates import Rates as Rates
    from zerog.maintenance.rates import TypeRates as TypeRates
    from zerog.records.fields import NO_RESULT as NO_RESULT
    from zerog.records.job import INTERNAL_ERROR as INTERNAL_ERROR
    from zerog.registry import JobRegistry as JobRegistry
    from zerog.registry import find_subclasses as find_subclasses
    from zerog.registry import import_submodules as import_submodules
    from zerog.worker.worker import Worker as Worker

__version__ = "0.1.0"

_MODULES = {
    "zerog.app": ("App",),
    "zerog.contracts.find": ("Count",),
    "zerog.exceptions": (
        "AmbiguousWrite",
        "Cancelled",
        "CasMismatch",
        "ClaimLost",
        "ConfigurationError",
        "CorruptDocument",
        "DatastoreError",
        "DuplicateJobType",
        "InvalidJobClass",
        "InvalidUuid",
        "InvalidValue",
        "JobNotFound",
        "JobStateError",
        "Paused",
        "QueueError",
        "QueueFull",
        "ScheduleNotFound",
        "SchemaTooNew",
        "SoftTimeout",
        "TooManyCollisions",
        "UnknownJobType",
        "WorkerNotFound",
        "ZerogError",
    ),
    "zerog.jobs.answers": ("Info", "Progress"),
    "zerog.jobs.base": (
        "BaseJob",
        "BaseJobSchema",
        "ErrorContinue",
        "ErrorFinish",
        "WarningContinue",
        "WarningFinish",
    ),
    "zerog.jobs.migrations": ("migration",),
    "zerog.maintenance.rates": ("Rates", "TypeRates"),
    "zerog.records.fields": ("NO_RESULT",),
    "zerog.records.job": ("INTERNAL_ERROR",),
    "zerog.registry": (
        "JobRegistry",
        "find_subclasses",
        "import_submodules",
    ),
    "zerog.worker.worker": ("Worker",),
}
"""The public names by the module that defines each."""

_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", "backoff", *_HOMES]


def __getattr__(name: str) -> Any:
    if name == "backoff":
        return import_module("zerog.backoff")
    if name not in _HOMES:
        raise AttributeError(f"module 'zerog' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
