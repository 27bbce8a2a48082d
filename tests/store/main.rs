//! The store's contract: the same sentences for SQLite and for MySQL or MariaDB.
//!
//! Each sentence is a function that takes a new [`Fixture`]; `contract!` makes it a test of each database.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod fixture;

mod ends;
mod entry;
mod history;
mod house;
mod messages;
mod planning;
mod prune;
#[cfg(feature = "services")]
mod restart;
mod tasks;

macro_rules! contract {
    ($fixture:path, $($file:ident: $($sentence:ident),+;)+) => {$(
        mod $file {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                let fixture = $fixture().await;
                crate::$file::$sentence(&fixture).await;
                fixture.store.close().await;
            }
        )+}
    )+};
}

macro_rules! sentences {
    ($fixture:path) => {
        contract! { $fixture,
            entry: a_run_is_accepted_once,
                a_key_is_good_for_one_run,
                a_key_is_good_for_one_run_whoever_else_asks_at_the_same_time,
                batches_inserted_at_once_by_many_accept_each_run_once,
                a_run_that_has_ended_is_not_accepted_again,
                what_starts_is_marked_and_an_older_fence_changes_nothing,
                open_runs_are_listed_to_rebuild_a_queue,
                the_key_of_a_run_that_is_taken_back_is_good_for_another,
                only_what_never_started_is_withdrawn;
            ends: an_attempt_that_succeeds_takes_its_run_to_the_history,
                an_attempt_that_fails_leaves_its_run_waiting,
                the_same_end_twice_is_recorded_once,
                an_older_fence_is_stale_and_a_newer_one_counts,
                a_loss_is_replaced_by_the_account_of_its_worker,
                a_loss_says_when_the_attempt_had_begun_and_when_it_was_lost,
                a_loss_that_ended_the_run_stands,
                a_fast_run_is_recorded_though_nobody_entered_it,
                an_earlier_attempt_of_a_fast_run_that_is_written_late_enters_its_history,
                attempts_of_a_fast_run_may_come_in_any_order_in_one_batch,
                a_durable_run_that_nobody_entered_is_unknown,
                runs_end_without_an_attempt_once,
                the_same_run_may_end_twice_in_one_batch,
                overlapping_batches_at_once_record_each_end_once,
                disjoint_batches_at_once_all_succeed,
                an_end_and_its_entry_at_once_leave_one_row,
                an_end_and_the_attempt_before_it_at_once_leave_one_row;
            history: pages_hold_each_run_once_newest_first,
                each_filter_finds_what_it_names,
                a_running_attempt_is_shown_as_the_last,
                a_cursor_survives_as_text;
            messages: messages_are_kept_once_and_in_order,
                a_reader_goes_on_where_it_stopped,
                bytes_stay_as_they_are;
            tasks: a_task_is_read_as_it_was_written,
                a_name_is_given_once,
                an_update_counts_only_for_who_saw_the_latest,
                equal_payloads_are_stored_once,
                tasks_are_listed_by_name_and_prefix,
                a_task_is_paused_and_deleted_by_name_or_id,
                a_row_of_plain_sql_needs_four_columns,
                a_bad_row_names_its_column;
            planning: what_was_inserted_by_plain_sql_is_planned_once,
                every_edit_by_plain_sql_is_found,
                what_is_mirrored_is_no_edit,
                two_planners_at_once_plan_each_firing_once,
                what_is_locked_is_passed_over,
                what_is_queued_ahead_is_given_back_when_its_task_changes,
                a_deleted_task_leaves_orphans,
                a_bad_row_gets_its_problem_and_is_left_alone,
                a_resumed_task_is_told_from_one_that_was_never_paused,
                a_long_payload_written_by_plain_sql_travels_by_hash,
                skipped_firings_go_to_the_history_once;
            house: facts_are_made_once_whoever_asks_first,
                the_fence_floor_only_rises,
                what_was_let_go_is_known_from_the_first_question_on_and_only_moves_forward,
                the_last_darkness_is_remembered_whole,
                a_worker_is_registered_and_drained,
                many_workers_are_registered_at_once,
                workers_are_found_by_selector_and_page,
                long_payloads_are_kept_by_hash,
                several_servers_open_an_empty_store_at_once;
            prune: history_is_bounded_by_count,
                history_is_bounded_by_age,
                what_pruned_runs_had_goes_with_them;
        }
    };
}

mod sqlite {
    sentences!(crate::fixture::sqlite);
}

#[cfg(feature = "services")]
mod mysql {
    sentences!(crate::fixture::mysql);
}
