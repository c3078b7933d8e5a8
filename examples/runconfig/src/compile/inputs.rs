//! Which variables do the inputs of a run become?

use std::collections::BTreeMap;

use runyard_executor_core::contract::{Environment, Value};

use super::Problem;
use crate::definition::{Input, InputKind};

/// The variables of the run: what a user gave, else the default. `given` is none when nobody started it by hand; then
/// nothing can be missing. What the run does not ask for is left out, because another run may.
///
/// # Errors
/// What is missing and what is of the wrong kind, all of it.
pub(super) fn environment(
    inputs: &BTreeMap<String, Input>,
    given: Option<&BTreeMap<String, String>>,
) -> Result<Environment, Vec<Problem>> {
    let (mut environment, mut errors) = (Environment::new(), Vec::new());
    for (name, input) in inputs {
        let text = given.and_then(|given| given.get(name)).or(input.default.as_ref());
        match text {
            Some(text) if !input.kind.accepts(text) => {
                let kind = match input.kind {
                    InputKind::String => "a text",
                    InputKind::Boolean => "`true` or `false`",
                    InputKind::Number => "a number",
                };
                errors.push((format!("the input `{name}` has to be {kind}, and is `{text}`"), "give another value"));
            }
            Some(text) => {
                environment.insert(name.clone(), Value::from(text.as_str()));
            }
            None if input.required && given.is_some() => {
                errors.push((format!("the input `{name}` is missing"), "give it when the run is started"));
            }
            None => {}
        }
    }
    if errors.is_empty() { Ok(environment) } else { Err(errors) }
}
