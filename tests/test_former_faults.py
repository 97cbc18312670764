"""The faults of the implementation before this one, and for each the tests that would see it come back.

``FAULTS`` names every fault that concerns the core: U1 to U36 as the study of its reliability numbers them, C1 to C16
as the list of its capabilities does. A test that lives beside the part it tests is named by the function itself, so
that it can't be renamed or removed unnoticed; the others are in ``test_lifecycle_faults``. Web pages and message
brokers have their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests import test_doctor, test_faults, test_registry
from tests import test_lifecycle_faults as own
from tests.acceptance import test_recovery, test_signals, test_supervisor, test_ways_out
from tests.engines import test_crash_points, test_figures, test_hard_cases, test_late
from tests.jobs import test_document, test_enqueue, test_history, test_progress, test_saving
from tests.queues import test_sqlite as test_sqlite_queue
from tests.worker import test_ends, test_execute, test_run_writes, test_worker
from zerog.testing.engine_contract import EngineContract


class Fault(NamedTuple):
    """What happened, and what would see it."""

    what: str
    tests: tuple[Callable[..., object], ...]


DIES_AFTER_RUN = own.test_a_worker_dies_between_the_outcome_of_a_run_and_the_queue
KILLED = test_crash_points.test_a_kill_at_any_point_is_repaired

FAULTS = {
    "U1": Fault("deletes the entry, then requeues", (DIES_AFTER_RUN, KILLED)),
    "U2": Fault(
        "deletes the entry, then records the result", (own.test_a_worker_dies_before_the_result_is_stored, KILLED)
    ),
    "U3": Fault(
        "gives a result up after ten collisions",
        (test_faults.test_a_result_is_given_up_after_ten_collisions,),
    ),
    "U4": Fault(
        "four failed loads delete the entry",
        (
            test_faults.test_a_job_whose_class_is_missing_is_deleted_after_some_tries,
            test_faults.test_a_job_of_newer_code_with_one_more_field_is_lost_on_an_older_worker,
            test_worker.test_an_outage_of_the_datastore_is_waited_out,
        ),
    ),
    "U5": Fault(
        "a job that raises ErrorFinish itself has no result",
        (test_execute.test_the_four_exceptions_may_be_raised_by_hand,),
    ),
    "U6": Fault(
        "nothing looks for a document that was saved and not put",
        (
            own.test_a_queue_answers_nothing_of_use_to_a_put,
            test_enqueue.test_a_queue_out_of_reach_is_no_error,
            EngineContract.test_a_pending_document_is_put_on_the_queue,
            KILLED,
        ),
    ),
    "U7": Fault("a queue without a log restarts empty", (test_faults.test_the_queue_forgets_everything,)),
    "U8": Fault("stores what it can't load", (test_faults.test_one_value_makes_a_document_unreadable_for_ever,)),
    "U9": Fault(
        "documents grow until nothing can be written",
        (test_faults.test_a_document_that_grows_without_bound_can_t_take_its_result,),
    ),
    "U10": Fault(
        "a client overwrites another job",
        (test_registry.test_a_client_sets_no_field_of_the_engine, EngineContract.test_a_uuid_is_submitted_once),
    ),
    "U11": Fault(
        "queued before the document exists",
        (test_enqueue.test_a_job_can_t_be_queued_without_a_document_of_its_own_by_a_token_from_outside,),
    ),
    "U12": Fault(
        "a lost connection starts a second run and drops the first one's result",
        (
            own.test_a_connection_is_lost_right_after_the_claim,
            test_faults.test_a_second_delivery_of_a_running_job_starts_it_again,
        ),
    ),
    "U13": Fault("two deliveries, two claims", (test_faults.test_two_workers_claim_one_job_at_the_same_moment,)),
    "U14": Fault("a put is repeated", (own.test_a_put_whose_reply_is_lost_is_sent_again,)),
    "U15": Fault(
        "a delivery after the end runs the job",
        (
            test_faults.test_a_delivery_after_the_end_runs_the_job_again,
            test_late.test_a_delivery_after_the_end_runs_nothing,
        ),
    ),
    "U16": Fault(
        "a killed job goes to others first",
        (test_faults.test_a_cancelled_run_is_given_to_another_worker_first,),
    ),
    "U17": Fault(
        "a result is overwritten by a stale one",
        (
            test_faults.test_a_result_is_overwritten_by_a_late_one,
            test_late.test_a_run_that_is_late_at_its_end_changes_nothing,
        ),
    ),
    "U18": Fault(
        "a reload applies an old value again",
        (
            test_progress.test_two_holders_who_add_add_both,
            test_history.test_two_holders_lose_neither_error_nor_event,
        ),
    ),
    "U19": Fault(
        "a reload takes what was not saved",
        (test_saving.test_reload_keeps_the_keepalive_and_attributes_outside_the_schema,),
    ),
    "U20": Fault(
        "a deleted document comes back",
        (
            own.test_a_deleted_document_is_a_job_no_more,
            test_saving.test_reload_of_a_deleted_document_says_so_and_no_write_brings_it_back,
        ),
    ),
    "U21": Fault(
        "a write without an answer is applied twice",
        (
            test_run_writes.test_a_write_whose_answer_was_lost_is_applied_once,
            test_figures.test_no_write_without_an_answer_is_applied_twice_or_never,
        ),
    ),
    "U22": Fault(
        "ticks are counted twice, a failure fills the bar",
        (
            test_progress.test_a_requeued_run_s_ticks_are_counted_once,
            test_progress.test_only_success_fills_the_bar,
            EngineContract.test_a_failed_job_keeps_its_completeness,
        ),
    ),
    "U23": Fault(
        "a requeue forgets priority and time to run",
        (test_faults.test_a_requeue_forgets_priority_and_time_to_run,),
    ),
    "U24": Fault(
        "a time to run of 30 days keeps the job of a dead worker",
        (
            own.test_a_time_to_run_of_thirty_days_keeps_a_job_of_a_dead_worker,
            test_recovery.test_every_process_of_the_only_worker_is_killed,
            test_ways_out.test_a_stopped_worker_that_comes_back_changes_nothing,
        ),
    ),
    "U25": Fault("running stays true", (test_faults.test_a_finished_job_still_shows_as_running,)),
    "U26": Fault(
        "a worker that dies twice is never replaced",
        (
            own.test_a_replacement_dies_as_soon_as_it_is_there,
            test_supervisor.test_a_crash_loop_is_told_and_ends,
            test_doctor.test_jobs_without_a_worker_need_somebody_to_start_one,
        ),
    ),
    "U27": Fault(
        "a malformed entry kills every worker",
        (test_faults.test_a_malformed_entry_kills_one_worker_after_the_other,),
    ),
    "U28": Fault(
        "a recycled process number counts as alive",
        (
            own.test_a_new_worker_has_the_process_number_of_a_dead_one,
            test_supervisor.test_workers_notice_that_their_supervisor_is_gone,
            test_ways_out.test_children_go_when_their_worker_is_killed,
        ),
    ),
    "U29": Fault("requeues without a limit", (own.test_a_job_runs_again_without_any_limit,)),
    "U30": Fault("any text is a success", (test_execute.test_any_other_value_is_a_failure_that_names_it,)),
    "U31": Fault(
        "sys.exit in a job is no error",
        (
            own.test_a_job_runs_again_without_any_limit,
            test_execute.test_an_exception_is_recorded_counted_and_tried_again,
        ),
    ),
    "U32": Fault(
        "the reason of a failed load is lost",
        (test_faults.test_the_reason_why_a_job_is_not_run_is_told_only_after_some_tries,),
    ),
    "U33": Fault(
        "three deploys fail a job",
        (
            test_faults.test_deploys_count_as_crashes_of_the_job,
            test_signals.test_a_storm_of_sigterm_ends_as_one_does,
        ),
    ),
    "U34": Fault("malformed parameters become defaults", (own.test_malformed_parameters_become_an_empty_object,)),
    "U35": Fault(
        "an error while recording an error hides both",
        (
            test_ends.test_a_hook_that_fails_does_not_hide_the_end,
            test_faults.test_a_failing_job_leaves_a_trace_of_each_try,
            test_hard_cases.test_a_settlement_without_any_answer_is_an_error,
        ),
    ),
    "U36": Fault(
        "what can't be decoded is delivered for ever",
        (
            test_sqlite_queue.test_bodies_of_any_type_are_set_aside,
            test_faults.test_a_malformed_entry_kills_one_worker_after_the_other,
        ),
    ),
    "C1": Fault(
        "a job with an unknown field is lost",
        (test_faults.test_a_job_of_newer_code_with_one_more_field_is_lost_on_an_older_worker,),
    ),
    "C2": Fault("of two additions one is lost", (test_progress.test_two_holders_who_add_add_both,)),
    "C3": Fault("of two errors one is counted", (test_history.test_two_holders_lose_neither_error_nor_event,)),
    "C4": Fault("ticks are counted twice", (test_progress.test_a_reload_counts_each_tick_once,)),
    "C5": Fault(
        "a reload loses the keepalive",
        (test_saving.test_reload_keeps_the_keepalive_and_attributes_outside_the_schema,),
    ),
    "C6": Fault(
        "a change that was given up looks stored",
        (
            own.test_a_change_is_given_up_after_ten_collisions_and_kept_in_memory,
            test_saving.test_record_change_raises_rather_than_giving_up_quietly,
        ),
    ),
    "C7": Fault("each event writes all events", (test_faults.test_a_long_history_makes_each_write_longer,)),
    "C8": Fault("a client forges a result", (test_registry.test_a_client_sets_no_field_of_the_engine,)),
    "C9": Fault(
        "a second class replaces the first",
        (test_registry.test_two_classes_of_one_type_are_refused_naming_both_and_nothing_is_registered,),
    ),
    "C10": Fault(
        "WarningContinue for ever",
        (own.test_a_job_runs_again_without_any_limit, test_ends.test_a_job_that_asks_to_run_again_for_ever_ends),
    ),
    "C11": Fault(
        "True is 1, a dict is thrown away",
        (
            test_execute.test_any_other_value_is_a_failure_that_names_it,
            test_execute.test_values_that_end_a_job,
        ),
    ),
    "C12": Fault("a failed job is complete", (test_progress.test_only_success_fills_the_bar,)),
    "C13": Fault(
        "queueName is never set, schemaVersion is text or a number",
        (
            own.test_the_name_of_the_queue_is_never_set,
            test_document.test_the_schema_version_is_a_number_in_the_document_and_text_or_number_elsewhere,
        ),
    ),
    "C14": Fault("deletes the message, then enqueues the next", (DIES_AFTER_RUN, KILLED)),
    "C15": Fault("saves, then puts, and nobody looks", (own.test_a_queue_answers_nothing_of_use_to_a_put, KILLED)),
    "C16": Fault(
        "a hung machine holds a job",
        (
            own.test_a_time_to_run_of_thirty_days_keeps_a_job_of_a_dead_worker,
            EngineContract.test_the_jobs_of_a_silent_worker_are_rescued,
        ),
    ),
}


def test_every_fault_of_the_core_is_in_the_table() -> None:
    assert list(FAULTS) == [f"U{number}" for number in range(1, 37)] + [f"C{number}" for number in range(1, 17)]


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_has_tests_that_each_run_takes(name: str) -> None:
    """A fault without a test fails here, and so does one whose tests are left to the nights."""
    tests = FAULTS[name].tests
    assert tests
    for test in tests:
        assert test.__name__.startswith("test_")
        marks = {mark.name for mark in getattr(test, "pytestmark", [])}
        assert not marks & {"slow", "long", "skip", "xfail"}, f"{test.__qualname__} is not run each time"
