//! What is the value of a `from_variable`?

use std::collections::BTreeMap;

use runyard_executor_core::contract::{Environment, Value};

use crate::definition::{AuthDefinition, ValueSource};

/// Looks variables up, and remembers which were missing and what asked for them.
#[derive(Debug)]
pub(crate) struct Variables<'v> {
    values: &'v BTreeMap<String, Value>,
    /// One sentence per missing variable and place.
    pub(crate) warnings: Vec<String>,
}

impl<'v> Variables<'v> {
    pub(crate) fn new(values: &'v BTreeMap<String, Value>) -> Self {
        Self { values, warnings: Vec::new() }
    }

    /// The value of a source; a missing variable is an empty text. `asker` is what asks, as a phrase.
    pub(crate) fn resolve(&mut self, source: &ValueSource, asker: &str) -> Value {
        match source {
            ValueSource::Text(text) => Value::Plain(text.clone()),
            ValueSource::Variable(name) => self.values.get(name).cloned().unwrap_or_else(|| {
                self.warnings.push(format!("the variable `{name}` does not exist: {asker} is empty"));
                Value::Plain(String::new())
            }),
        }
    }

    pub(crate) fn environment(&mut self, sources: &BTreeMap<String, ValueSource>, owner: &str) -> Environment {
        sources
            .iter()
            .map(|(name, source)| {
                (name.clone(), self.resolve(source, &format!("`{name}` in the environment of {owner}")))
            })
            .collect()
    }

    pub(crate) fn auth(
        &mut self,
        auth: &AuthDefinition,
        registry: &str,
    ) -> runyard_executor_core::contract::RegistryAuth {
        use runyard_executor_core::contract::RegistryAuth;
        let mut part = |source, what| self.resolve(source, &format!("the {what} for the registry `{registry}`"));
        match auth {
            AuthDefinition::Basic { username, password } => {
                RegistryAuth::Basic { username: part(username, "user name"), password: part(password, "password") }
            }
            AuthDefinition::Encoded { auth } => RegistryAuth::EncodedAuth { auth: part(auth, "credentials") },
        }
    }
}
