//! Does a driver keep its promises?
//!
//! An implementer calls [`check`] with a function that opens the driver, each time on the same place. Commands of the
//! portable cases use nothing but `echo`, `sleep` and `exit`, one on each line; the other cases need a real shell.

mod archives;
mod output;
mod pods;
mod shell;
mod steps;
mod world;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{FutureExt as _, future::BoxFuture};

pub use world::World;

use super::ExecutorDriver;
use crate::contract::Container;

/// One promise.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What is promised.
    pub name: &'static str,
    /// Whether its commands need `/bin/sh`.
    pub needs_shell: bool,
    run: fn(World) -> BoxFuture<'static, ()>,
}

macro_rules! cases {
    ($needs_shell:literal: $($module:ident::$case:ident),+ $(,)?) => {
        [$(Case {
            name: stringify!($case),
            needs_shell: $needs_shell,
            run: |world| $module::$case(world).boxed(),
        }),+]
    };
}

/// All promises.
pub fn cases() -> Vec<Case> {
    let portable = cases![false:
        pods::a_pod_is_found_by_its_owner_alone,
        pods::a_removed_pod_is_gone_and_may_be_removed_again,
        pods::a_cancelled_creation_leaves_nothing,
        pods::directories_are_absolute_and_may_exist,
        pods::pods_come_and_go_beside_each_other,
        pods::a_driver_may_be_prepared_again_beside_its_pods,
        pods::all_pods_of_an_owner_are_found,
        pods::a_pod_is_the_same_for_whoever_has_it,
        pods::a_pod_in_which_nothing_runs_can_be_stopped,
        steps::a_step_prints_and_succeeds,
        steps::an_exit_status_is_passed_on,
        steps::a_step_is_never_started_twice,
        steps::a_step_that_was_never_started_is_known,
        steps::a_stopped_step_ends_and_keeps_its_output,
        steps::steps_follow_each_other,
        steps::a_step_that_has_ended_is_not_started_again,
        steps::steps_of_two_pods_do_not_mix,
        output::any_offset_can_be_read,
        output::a_step_goes_on_without_its_executor,
        output::an_acknowledged_end_can_be_attached_to_again,
        output::output_arrives_while_the_command_runs,
        output::a_step_that_has_ended_can_still_be_read,
        output::the_later_of_two_readers_gets_everything,
        output::a_reader_that_waits_can_be_interrupted,
    ];
    let with_shell = cases![true:
        shell::the_environment_reaches_the_command,
        shell::secrets_are_masked,
        shell::files_stay_in_the_pod,
        shell::a_missing_shell_is_no_exit_status,
        shell::what_runs_in_the_background_ends_with_the_pod,
        shell::any_value_reaches_the_command,
        shell::a_long_command_is_read_to_its_end,
        shell::another_shell_reads_the_command,
        shell::a_command_runs_in_its_working_directory,
        shell::a_missing_working_directory_is_named,
        shell::a_signal_is_an_exit_status,
        shell::a_command_may_clean_up_when_it_is_stopped,
        shell::a_command_that_ignores_a_stop_is_killed,
        shell::a_terminal_is_one_and_a_pipe_is_none,
        shell::nothing_can_be_read_from_the_input,
        output::both_outputs_arrive_in_order,
        output::any_bytes_are_kept,
        output::a_line_of_megabytes_is_whole,
        output::a_long_output_is_whole,
        archives::archives_go_out_and_in,
        archives::an_archive_is_as_the_files_were,
        archives::what_is_in_the_way_is_replaced_if_that_is_asked_for,
        archives::no_archive_leaves_its_directory,
        archives::a_failing_toolbox_says_why,
        archives::a_call_of_the_toolbox_that_nobody_waits_for_disturbs_nothing,
        archives::cache_keys_see_files_and_variables,
    ];
    portable.into_iter().chain(with_shell).collect()
}

/// Checks every promise; `with_shell`: also those that need a shell.
///
/// `container` is what pods are made of. Call it on a runtime with several threads, so that what a driver does for one pod
/// can disturb another.
///
/// # Panics
/// With the names of the promises that are broken.
pub async fn check(
    open: impl Fn() -> Arc<dyn ExecutorDriver> + Send + Sync + 'static,
    container: Container,
    with_shell: bool,
) {
    static RUNS: AtomicUsize = AtomicUsize::new(0);

    let open = Arc::new(open);
    // Several may go on at the same time on the same place, and an earlier one may have left something there.
    let run = format!("{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
    let mut broken = Vec::new();
    for (number, case) in cases().into_iter().filter(|case| with_shell || !case.needs_shell).enumerate() {
        let world = World::new(open.clone(), container.clone(), format!("{run}-{number}"));
        if AssertUnwindSafe((case.run)(world)).catch_unwind().await.is_err() {
            broken.push(case.name);
        }
    }
    assert!(broken.is_empty(), "the driver breaks its promises: {broken:?}");
}
