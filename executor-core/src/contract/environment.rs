//! Which variables does a task see, and which of their values are secret?

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Variables by name.
pub type Environment = BTreeMap<String, Value>;

/// The value of a variable. A secret one is masked in logs, and never shown by `Debug`.
///
/// In JSON a plain value is a string, a secret one `{"secret": "..."}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Value {
    /// May be shown to anybody who may see the run.
    Plain(String),
    /// Must not be shown to anybody.
    Secret {
        /// The value itself.
        secret: String,
    },
}

impl Value {
    /// A value that must not be shown to anybody.
    pub fn secret(value: impl Into<String>) -> Self {
        Self::Secret { secret: value.into() }
    }

    /// The value itself, for handing it to a command.
    pub fn expose(&self) -> &str {
        match self {
            Self::Plain(value) | Self::Secret { secret: value } => value,
        }
    }

    /// Whether it must not be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret { .. })
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Plain(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Plain(value)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(value) => write!(f, "{value:?}"),
            Self::Secret { .. } => f.write_str("<secret>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_json_and_hides_from_debug() {
        let environment = Environment::from([("A".into(), "1".into()), ("B".into(), Value::secret("hunter2"))]);
        let json = serde_json::to_string(&environment).expect("encodes");
        assert_eq!(json, r#"{"A":"1","B":{"secret":"hunter2"}}"#);
        assert_eq!(serde_json::from_str::<Environment>(&json).expect("decodes"), environment);
        assert!(!format!("{environment:?}").contains("hunter2"));
    }
}
