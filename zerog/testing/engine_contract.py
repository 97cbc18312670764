"""The definition of an engine: what each lifecycle verb does to documents and queue.

Subclass ``EngineContract`` in a test module and give it a fixture ``engine``, an empty engine whose clock is a
``ManualClock``. ``lossless`` says whether its queue delivers everything once and in order, ``has_shares`` whether it
knows its lowest priority, ``has_queues`` whether there can be several; the tests that need that ask for it.
"""

from __future__ import annotations

from zerog.testing.engine_answers import AnswerRules
from zerog.testing.engine_audit import AuditRules, SettlementRules
from zerog.testing.engine_discards import DiscardRules
from zerog.testing.engine_edits import EditRules
from zerog.testing.engine_life import LifeRules
from zerog.testing.engine_poison import PoisonRules
from zerog.testing.engine_repairs import RepairRules
from zerog.testing.engine_room import RoomRules
from zerog.testing.engine_setbacks import SetbackRules
from zerog.testing.engine_turns import TurnRules


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
