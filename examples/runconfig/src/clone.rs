//! How does a task get the commit? By a command like any other, a POSIX shell script.
//!
//! The script reads the static environment (`RUNYARD_REPOSITORY_URL` and its neighbours), so that the compiled step is
//! the same for every commit. It needs `git` in the image, and `ssh` for an ssh address.

use runyard_executor_core::contract::RunStep;

use crate::definition::CloneOptions;

/// The script, without the two options that stand before it.
const SCRIPT: &str = include_str!("clone.sh");

/// The step that fetches the commit into the working directory, which may hold other files already.
pub fn clone_step(name: String, options: &CloneOptions) -> RunStep {
    let depth = options.depth.map(|depth| depth.to_string()).unwrap_or_default();
    let submodules = if options.recurse_submodules { "1" } else { "" };
    RunStep {
        name,
        // Some thousand tasks may clone: one allocation each.
        command: ["clone_depth=", &depth, "\nclone_submodules=", submodules, "\n", SCRIPT].concat(),
        // The task's shell may be anything; this is a script for `sh`.
        shell: Some("/bin/sh -e".to_owned()),
        ..RunStep::default()
    }
}
