//! Which subcommand of the toolbox is called for, and has it succeeded? Pure.

use runyard_toolbox::archive::{PackContents, PackSpec};

use super::{DriverError, Result, ToolboxCall, ToolboxEnd, ToolboxFailed};
use crate::{contract::Environment, executor::directory};

/// A call of the toolbox, as a program.
pub(super) struct Tool {
    /// Its subcommand, and the arguments of that.
    pub(super) arguments: Vec<String>,
    /// Where it runs; none: anywhere.
    pub(super) working_dir: Option<String>,
    /// What the task adds to its environment.
    pub(super) environment: Environment,
    pub(super) input: ToolInput,
}

/// What a call of the toolbox reads.
pub(super) enum ToolInput {
    Nothing,
    /// What the caller gave with the call.
    Given,
    Document(Vec<u8>),
}

/// The program for a call; `expand` finds the place of a path that begins with `~` or is relative to a home.
pub(super) fn tool(call: ToolboxCall, expand: impl Fn(&str) -> String) -> Result<Tool> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    match call {
        ToolboxCall::Archive { working_dir, contents } => {
            let contents = contents.into_iter().map(|contents| PackContents {
                source_dir: contents.source_dir,
                dest_dir: contents.dest_dir,
                paths: contents.paths,
            });
            let spec = PackSpec { working_dir: expand(&working_dir).into(), contents: contents.collect() };
            let document =
                serde_json::to_vec(&spec).map_err(|error| DriverError::failed("describing an archive", error))?;
            Ok(Tool {
                arguments: words(&["archive", "--spec", "-"]),
                working_dir: None,
                environment: Environment::new(),
                input: ToolInput::Document(document),
            })
        }
        ToolboxCall::Unarchive { working_dir, dest_dir, overwrite } => {
            let mut arguments = words(&["unarchive"]);
            arguments.extend(overwrite.then(|| "--overwrite".to_owned()));
            arguments.push(expand(&directory(&working_dir, Some(&dest_dir))));
            Ok(Tool { arguments, working_dir: None, environment: Environment::new(), input: ToolInput::Given })
        }
        ToolboxCall::CacheKey { working_dir, template, environment } => Ok(Tool {
            arguments: vec!["cachekey".to_owned(), template],
            working_dir: Some(expand(&working_dir)),
            environment,
            input: ToolInput::Nothing,
        }),
    }
}

/// What a toolbox that has ended means, from what it wrote to its standard error; `how` it ended is for one that says
/// nothing.
pub(super) fn ended(success: bool, said: &str, how: &str) -> Result<ToolboxEnd, ToolboxFailed> {
    if success {
        return Ok(ToolboxEnd { messages: said.lines().map(str::to_owned).collect() });
    }
    let said = said.trim().trim_start_matches("runyard-toolbox: ");
    let message = if said.is_empty() { format!("the toolbox ended with {how}") } else { said.to_owned() };
    Err(ToolboxFailed { message })
}
