"""The definition of an engine: what each lifecycle verb does to documents and queue.

Subclass ``EngineContract`` in a test module and give it a fixture ``engine``, an empty engine whose clock is a
``ManualClock``. ``lossless`` says whether its queue delivers everything once and in order, ``has_shares`` whether it
knows its lowest priority, ``has_queues`` whether there can be several; the tests that need that ask for it.
"""

from __future__ import annotations

from zerog.testing.contracts.engine.answers import AnswerRules
from zerog.testing.contracts.engine.audit import AuditRules, SettlementRules
from zerog.testing.contracts.engine.discards import DiscardRules
from zerog.testing.contracts.engine.edits import EditRules
from zerog.testing.contracts.engine.life import LifeRules
from zerog.testing.contracts.engine.poison import PoisonRules
from zerog.testing.contracts.engine.repairs import RepairRules
from zerog.testing.contracts.engine.room import RoomRules
from zerog.testing.contracts.engine.setbacks import SetbackRules
from zerog.testing.contracts.engine.turns import TurnRules


class EngineContract(
    LifeRules,
    TurnRules,
    RepairRules,
    SetbackRules,
    RoomRules,
    EditRules,
    DiscardRules,
    AnswerRules,
    AuditRules,
    SettlementRules,
    PoisonRules,
):
    """Rules that every engine keeps."""
