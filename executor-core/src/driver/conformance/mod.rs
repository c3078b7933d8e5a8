//! Does a driver keep its promises?
//!
//! An implementer calls [`check`] with a function that opens the driver, each time on the same place. Commands of the
//! portable cases use nothing but `echo`, `sleep` and `exit`, one on each line; the other cases need a real shell.

mod output;
mod pods;
mod shell;
mod steps;
mod world;

use std::{panic::AssertUnwindSafe, sync::Arc};

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
        steps::a_step_prints_and_succeeds,
        steps::an_exit_status_is_passed_on,
        steps::a_step_is_never_started_twice,
        steps::a_step_that_was_never_started_is_known,
        steps::a_stopped_step_ends_and_keeps_its_output,
        steps::steps_follow_each_other,
        output::any_offset_can_be_read,
        output::a_step_goes_on_without_its_executor,
        output::an_acknowledged_end_can_be_attached_to_again,
    ];
    let with_shell = cases![true:
        shell::the_environment_reaches_the_command,
        shell::secrets_are_masked,
        shell::files_stay_in_the_pod,
        shell::a_missing_shell_is_no_exit_status,
        shell::what_runs_in_the_background_ends_with_the_pod,
        shell::a_long_output_is_whole,
        shell::archives_go_out_and_in,
        shell::a_failing_toolbox_says_why,
        shell::cache_keys_see_files_and_variables,
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
    let open = Arc::new(open);
    let mut broken = Vec::new();
    for (number, case) in cases().into_iter().filter(|case| with_shell || !case.needs_shell).enumerate() {
        let world = World::new(open.clone(), container.clone(), number);
        if AssertUnwindSafe((case.run)(world)).catch_unwind().await.is_err() {
            broken.push(case.name);
        }
    }
    assert!(broken.is_empty(), "the driver breaks its promises: {broken:?}");
}
