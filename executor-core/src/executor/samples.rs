//! Small tasks for the unit tests of this folder.

use crate::contract::{Container, RunId, RunStep, Runtime, Step, Steps, TaskId, TaskName, TaskSpec};

/// A task of run steps, one for each command.
pub(crate) fn task<const N: usize>(id: &str, commands: [&str; N]) -> TaskSpec {
    let steps = commands.map(|command| {
        Step::Run(RunStep { name: command.to_owned(), command: command.to_owned(), ..RunStep::default() })
    });
    TaskSpec {
        id: TaskId::parse(id).expect("a valid id"),
        attempt: 1,
        run: RunId::parse("run").expect("a valid id"),
        name: TaskName::parse("task").expect("a valid name"),
        runtime: Runtime { arch: None, containers: vec![Container::default()] },
        environment: Default::default(),
        static_environment: Default::default(),
        run_environment: Default::default(),
        working_dir: None,
        shell: None,
        user: None,
        steps: Steps(steps.into()),
        timeout: None,
        registries_auth: Default::default(),
        workspace: Vec::new(),
    }
}
