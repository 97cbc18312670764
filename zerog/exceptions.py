"""Every failure that ZeroG raises, in one tree.

::

    ZerogError
    ├── ConfigurationError          wrong at start: URLs, options, job classes
    │   ├── DuplicateJobType
    │   └── InvalidJobClass
    ├── UnknownJobType              no registered class has this type
    ├── JobNotFound                 no document has this uuid
    ├── WorkerNotFound              no worker has this name
    ├── ScheduleNotFound            no schedule has this name
    ├── InvalidUuid                 not a uuid at all
    ├── InvalidValue                something JSON can't hold, or too large or too deep
    ├── InvalidSignature            a web hook that this sender did not sign
    ├── JobStateError               the job's status doesn't allow this
    ├── QueueFull                   as many jobs wait on the queue as its max_waiting allows
    ├── CopyRefused                 an installation can't be copied as it is
    ├── TooManyCollisions           too many concurrent changes of the document
    ├── CorruptDocument             stored, but not readable as this job
    ├── SchemaTooNew                written by newer code than this
    ├── DatastoreError
    │   ├── CasMismatch             refused: changed meanwhile, or it isn't there
    │   ├── DocumentLocked          refused: locked by another client for a while
    │   ├── AmbiguousWrite          unknown: the write may or may not have happened
    │   └── DatastoreUnavailable    refused: nothing was written, try later
    └── QueueError
        ├── QueueUnavailable        nothing was put or taken, try later
        └── ReservationLost         the entry belongs to another consumer by now

    RunInterrupted (BaseException)  stops a run; ``except Exception`` can't hide it
    ├── ClaimLost                   another run owns the job now: write nothing, return
    ├── Cancelled                   an operator asked this run to stop
    ├── Paused                      an operator paused the job: it goes on in a later run
    └── SoftTimeout                 the run took longer than its SOFT_TIMEOUT
"""

from __future__ import annotations


class ZerogError(Exception):
    """Base of every error here that a program may want to handle."""


class ConfigurationError(ZerogError):
    """A URL, an option or a job class is wrong; nothing has been started."""


class DuplicateJobType(ConfigurationError):
    """Two classes claim one ``JOB_TYPE``; none of the batch was registered."""


class InvalidJobClass(ConfigurationError):
    """A job class can't be used as declared; it was not registered."""


class UnknownJobType(ZerogError, LookupError):
    """No class is registered for a job type."""


class JobNotFound(ZerogError, LookupError):
    """No document is stored under this uuid."""


class WorkerNotFound(ZerogError, LookupError):
    """No worker with a record has this name, or is on this host."""


class ScheduleNotFound(ZerogError, LookupError):
    """No schedule has this name, or it was removed."""


class InvalidUuid(ZerogError, ValueError):
    """A job was named by something that is no uuid."""


class InvalidValue(ZerogError, ValueError):
    """A value can't be stored as JSON; the message gives the field's path. Nothing was written."""


class InvalidSignature(ZerogError, ValueError):
    """A web hook that was received is not signed with the secret, or too long ago; don't believe it."""


class JobStateError(ZerogError):
    """The operation isn't possible in the job's present status; nothing was changed."""


class QueueFull(ZerogError):
    """As many jobs wait on a queue as an operator allows; nothing was stored or moved. Later there may be room."""


class CopyRefused(ZerogError):
    """An installation can't be copied as it is, or to that place; the message says what has to be done first."""


class TooManyCollisions(ZerogError):
    """A change was refused again and again because of concurrent writes; it was not stored."""


class CorruptDocument(ZerogError):
    """A stored document can't be read as the job it claims to be; it was left as it is."""


class SchemaTooNew(ZerogError):
    """A document was written by newer code; this code leaves it as it is."""


class DatastoreError(ZerogError):
    """A datastore operation failed."""


class CasMismatch(DatastoreError):
    """The token is stale, the document exists already, or it is missing: nothing was written."""


class DocumentLocked(DatastoreError):
    """Another client holds a lock on the document: nothing was written."""


class AmbiguousWrite(DatastoreError):
    """The answer to a write was lost: it may have happened. Repeat it under the same numbers or read back."""


class DatastoreUnavailable(DatastoreError):
    """The datastore can't be reached or is busy: nothing was written."""


class QueueError(ZerogError):
    """A queue operation failed."""


class QueueUnavailable(QueueError):
    """The queue can't be reached or is busy: nothing was put or taken."""


class ReservationLost(QueueError):
    """The reserved entry is on the queue again, or belongs to another consumer."""


class RunInterrupted(BaseException):
    """Stops a run from inside. A BaseException, so that ``except Exception`` in a job can't hide it."""


class ClaimLost(RunInterrupted):
    """This run no longer owns its job; whatever it tried to write was refused."""


class Cancelled(RunInterrupted):
    """The job was cancelled; the run should clean up and return."""


class Paused(RunInterrupted):
    """The job was paused; the run should return, and a later one goes on from the state that is stored."""


class SoftTimeout(RunInterrupted):
    """The run took longer than its SOFT_TIMEOUT; raised once. Leaving ``run()`` it counts as an error."""
