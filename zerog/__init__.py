"""ZeroG: long background jobs as objects with documents."""

from zerog import backoff
from zerog.app import App
from zerog.exceptions import (
    AmbiguousWrite,
    Cancelled,
    CasMismatch,
    ClaimLost,
    ConfigurationError,
    CorruptDocument,
    DatastoreError,
    DuplicateJobType,
    InvalidJobClass,
    InvalidUuid,
    InvalidValue,
    JobNotFound,
    JobStateError,
    QueueError,
    SchemaTooNew,
    SoftTimeout,
    TooManyCollisions,
    UnknownJobType,
    WorkerNotFound,
    ZerogError,
)
from zerog.jobs.base import BaseJob, BaseJobSchema, ErrorContinue, ErrorFinish, WarningContinue, WarningFinish
from zerog.jobs.migrations import migration
from zerog.records.fields import NO_RESULT
from zerog.records.job import INTERNAL_ERROR
from zerog.registry import JobRegistry, find_subclasses, import_submodules
from zerog.support import logger as logger
from zerog.worker.worker import Worker

__version__ = "0.1.0"

__all__ = [
    "INTERNAL_ERROR",
    "NO_RESULT",
    "AmbiguousWrite",
    "App",
    "BaseJob",
    "BaseJobSchema",
    "Cancelled",
    "CasMismatch",
    "ClaimLost",
    "ConfigurationError",
    "CorruptDocument",
    "DatastoreError",
    "DuplicateJobType",
    "ErrorContinue",
    "ErrorFinish",
    "InvalidJobClass",
    "InvalidUuid",
    "InvalidValue",
    "JobNotFound",
    "JobRegistry",
    "JobStateError",
    "QueueError",
    "SchemaTooNew",
    "SoftTimeout",
    "TooManyCollisions",
    "UnknownJobType",
    "WarningContinue",
    "WarningFinish",
    "Worker",
    "WorkerNotFound",
    "ZerogError",
    "__version__",
    "backoff",
    "find_subclasses",
    "import_submodules",
    "migration",
]
