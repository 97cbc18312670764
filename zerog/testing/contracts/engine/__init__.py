"""The definition of an engine: the effects of each lifecycle verb on documents and queue.

Subclass ``EngineContract`` in a test module and give it a fixture ``engine``, an empty engine whose clock is a
``ManualClock``. ``lossless``: its queue delivers everything once and in order; ``has_shares``: it can find its lowest
priority; ``has_queues``: there can be several. The tests that need these check them.
"""

from __future__ import annotations

from zerog.testing.contracts.engine.answers import AnswerRules
from zerog.testing.contracts.engine.audit import AuditRules, SettlementRules
from zerog.testing.contracts.engine.discards import DiscardRules
from zerog.testing.contracts.engine.expiring import ExpiryRules
from zerog.testing.contracts.engine.followers import FollowerRules
from zerog.testing.contracts.engine.found import FoundRules
from zerog.testing.contracts.engine.life import LifeRules
from zerog.testing.contracts.engine.limit_kills import LimitKillRules
from zerog.testing.contracts.engine.limits import LimitRules
from zerog.testing.contracts.engine.moves import MoveRules
from zerog.testing.contracts.engine.pauses import PauseRules
from zerog.testing.contracts.engine.poison import PoisonRules
from zerog.testing.contracts.engine.repairs import RepairRules
from zerog.testing.contracts.engine.room import RoomRules
from zerog.testing.contracts.engine.setbacks import SetbackRules
from zerog.testing.contracts.engine.shared_slots import SharedSlotRules
from zerog.testing.contracts.engine.starts import StartRules
from zerog.testing.contracts.engine.unique import UniqueRules
from zerog.testing.contracts.engine.unique_operators import UniqueOperatorRules


class EngineContract(
    LifeRules,
    RepairRules,
    SetbackRules,
    RoomRules,
    MoveRules,
    DiscardRules,
    FollowerRules,
    ExpiryRules,
    AnswerRules,
    AuditRules,
    SettlementRules,
    PauseRules,
    PoisonRules,
    LimitRules,
    LimitKillRules,
    SharedSlotRules,
    StartRules,
    UniqueRules,
    UniqueOperatorRules,
    FoundRules,
):
    """Rules for every engine."""
