//! From a definition and a commit to the runs that are created.

mod context;
mod environment;
mod inputs;
mod task;

use runyard_runservice_core::model::{GroupPath, InvalidGroup, RunConfig};

pub use context::CompileContext;

use crate::{
    Diagnostic, Severity,
    definition::{Definition, RunDefinition},
    variables::Variables,
    when::when_matches,
};

/// The runs of one commit.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// The runs whose `when` matches, in the order of the definition. Levels are set.
    pub runs: Vec<RunConfig>,
    /// What a user should know, over all runs; each run holds its own in [`RunConfig::warnings`] too.
    pub warnings: Vec<Diagnostic>,
}

/// The beginning of the annotations that say who may approve a task; the name of the task follows. The value is a
/// JSON list of the users that the definition names.
pub const APPROVERS_ANNOTATION: &str = "approvers/";

/// Compiles a definition for one commit.
///
/// A run whose `when` does not match is left out; a task whose `when` does not match is born skipped. The caller adds
/// `AGOLA_RUN_COUNTER` and `RUNYARD_RUN_COUNTER` to [`RunConfig::static_environment`] once the run has its number.
///
/// A compiled clone step reads the static environment, so that host applications which run it on their own have to set
/// that too. There is an example in the documentation of the crate.
///
/// # Errors
/// All that is wrong with the graphs of tasks and with the groups. A definition that was parsed has a sound graph.
pub fn compile(definition: &Definition, context: &CompileContext) -> Result<Compiled, Vec<Diagnostic>> {
    let mut compiled = Compiled::default();
    let mut errors = Vec::new();
    for (index, run) in definition.runs.iter().enumerate() {
        if !when_matches(run.when.as_ref(), &context.names()) {
            continue;
        }
        let remark = |severity, message: &str, hint: &str| Diagnostic {
            severity,
            file: definition.file.clone(),
            position: run.position,
            path: format!("runs[{index}]"),
            message: message.to_owned(),
            hint: Some(hint.to_owned()),
        };
        match compile_run(definition, run, context) {
            Ok(config) => {
                let hint = "create the variable, or correct its name";
                compiled
                    .warnings
                    .extend(config.warnings.iter().map(|warning| remark(Severity::Warning, warning, hint)));
                compiled.runs.push(config);
            }
            Err(problems) => {
                errors.extend(problems.iter().map(|(message, hint)| remark(Severity::Error, message, hint)));
            }
        }
    }
    if errors.is_empty() { Ok(compiled) } else { Err(errors) }
}

/// What is wrong, and what can be done about it.
type Problem = (String, &'static str);

/// What can be done about a name that cannot be part of a group.
fn bad_group(error: &InvalidGroup) -> Vec<Problem> {
    vec![(error.to_string(), "choose another name")]
}

fn compile_run(
    definition: &Definition,
    run: &RunDefinition,
    context: &CompileContext,
) -> Result<RunConfig, Vec<Problem>> {
    let mut config = RunConfig::new(&run.name, context.group.clone());
    if let Some(name) = &run.cache_group {
        let scope = context.cache_scope.clone().unwrap_or_else(|| context.group.root());
        let group = scope.child("cache", name).map_err(|error| bad_group(&error))?;
        config.cache_group = Some(group.as_str().to_owned());
    }
    if let Some(concurrency) = &run.concurrency {
        config.concurrency = concurrency.policy;
        if let Some(name) = &concurrency.group {
            // Below the project, so that no definition reaches into another one's groups.
            config.group = context.group.root().child("concurrency", name).map_err(|error| bad_group(&error))?;
        }
    }
    config.environment = inputs::environment(&run.inputs, context.inputs.as_ref())?;
    config.static_environment = environment::static_environment(context);
    let mut variables = Variables::new(&context.variables);
    for task in &run.tasks {
        // What a skipped task lacks is not worth a warning.
        let warned = variables.warnings.len();
        let compiled = task::task(definition, run, task, context, &mut variables);
        if compiled.skip {
            variables.warnings.truncate(warned);
        }
        if let Some(approval) = task.approval.as_ref().filter(|approval| !approval.approvers.is_empty()) {
            let approvers = serde_json::json!(approval.approvers).to_string();
            config.annotations.insert(format!("{APPROVERS_ANNOTATION}{}", task.name), approvers);
        }
        config.tasks.insert(task.name.clone(), compiled);
    }
    for warning in variables.warnings {
        // A registry's credentials are the same for all tasks of a run.
        if !config.warnings.contains(&warning) {
            config.warnings.push(warning);
        }
    }
    let errors = config.check();
    let hint = "mend the dependencies of these tasks";
    if errors.is_empty() { Ok(config) } else { Err(errors.into_iter().map(|error| (error, hint)).collect()) }
}

/// The most remarks that a run shows: nobody reads more, and the run is stored.
const LINES_MAX: usize = 100;

fn lines(diagnostics: &[&Diagnostic]) -> Vec<String> {
    let mut lines: Vec<_> = diagnostics.iter().take(LINES_MAX).map(ToString::to_string).collect();
    if let Some(more @ 1..) = diagnostics.len().checked_sub(LINES_MAX) {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// The run that shows why there is no other: it is created in phase `setuperror`.
pub fn setup_error_run(name: &str, group: GroupPath, diagnostics: &[Diagnostic]) -> RunConfig {
    let mut config = RunConfig::new(name, group);
    let (errors, warnings) = diagnostics.iter().partition::<Vec<_>, _>(|diagnostic| diagnostic.is_error());
    config.setup_errors = lines(&errors);
    config.warnings = lines(&warnings);
    if config.setup_errors.is_empty() {
        // Without an error it would be a run that succeeds at once.
        config.setup_errors.push("the definition cannot be used, for a reason that was not given".to_owned());
    }
    config
}
