//! The suite on every engine.

mod suite;

use suite::Fixture;

macro_rules! on_every_engine {
    ($($group:ident :: $scenario:ident),* $(,)?) => {
        on_every_engine!(@engine memory, $($group::$scenario),*);
        on_every_engine!(@engine sqlite, $($group::$scenario),*);
        on_every_engine!(@engine postgres, $($group::$scenario),*);
    };
    (@engine $engine:ident, $($group:ident :: $scenario:ident),*) => {
        mod $engine {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    if let Some(fixture) = super::Fixture::$engine().await {
                        super::suite::$group::$scenario(fixture).await;
                    }
                }
            )*
        }
    };
}

on_every_engine! {
    basics::ok_commits_and_err_rolls_back,
    basics::every_value_comes_back_as_it_went_in,
    basics::a_text_with_a_nul_is_refused_before_it_reaches_the_engine,
    basics::lists_are_read_with_statements_made_while_running,
    basics::a_violated_unique_index_is_named,
    basics::other_constraints_are_told_apart,
    basics::a_failed_statement_dooms_its_transaction,
    basics::a_panic_rolls_back_and_reaches_the_caller_as_an_error,
    basics::a_handle_is_dead_after_its_closure,
    basics::statements_are_counted_without_transaction_control,
    basics::listeners_are_woken_after_the_commit_only,
    basics::texts_compare_bytewise_and_like_minds_the_case,
    units::a_unit_is_written_as_a_whole,
    units::a_refused_guard_rolls_everything_back,
    units::guards_are_reported_by_their_place_in_the_unit_whatever_the_lock_order,
    units::a_failed_statement_of_a_unit_is_named_and_rolls_back,
    units::a_long_unit_keeps_its_order,
    schema::migrations_run_once_and_later_ones_are_added,
    schema::a_changed_migration_is_refused,
    schema::a_failing_migration_leaves_nothing_of_itself,
    schema::services_do_not_see_each_other,
    schema::processes_that_start_together_migrate_once,
    schema::a_lease_has_one_holder_and_a_growing_token,
    schema::of_many_that_want_a_lease_one_gets_it,
    races::guarded_units_never_oversell,
    races::closures_that_read_and_decide_never_oversell,
    races::a_bad_neighbour_does_not_spoil_the_others,
}
