//! Reading texts, booleans, numbers, durations, quantities and values.

use std::{collections::BTreeMap, time::Duration};

use runyard_executor_core::contract::NAME_BYTES_MAX;

use super::{
    At, Reader,
    fields::{Fields, Known},
};
use crate::{
    definition::ValueSource,
    duration::parse_duration,
    node::{NodeKind, Scalar, ScalarKind},
};

pub(crate) const VALUE: Known = Known::always(&["from_variable"]);

impl Reader<'_> {
    fn scalar<'n>(&mut self, at: &At<'n>, expected: &str) -> Option<&'n Scalar> {
        match &at.node.kind {
            NodeKind::Scalar(scalar) => Some(scalar),
            _ => {
                let message = format_args!("expected {expected}, found {}", at.node.describe());
                self.error(at, message, "write one value; a text with `: ` or ` #` in it needs quotes");
                None
            }
        }
    }

    /// A text. Numbers and booleans are their spelling.
    pub(super) fn text(&mut self, at: &At<'_>) -> Option<String> {
        Some(self.scalar(at, "a string")?.text.clone())
    }

    pub(super) fn text_field(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<String> {
        fields.get(key).and_then(|at| self.text(&at))
    }

    pub(super) fn text_list(&mut self, at: &At<'_>) -> Vec<String> {
        self.list(at).iter().filter_map(|item| self.text(item)).collect()
    }

    /// The name of a run, a task or a step.
    pub(super) fn name(&mut self, at: &At<'_>) -> Option<String> {
        let name = self.text(at)?;
        if name.is_empty() {
            self.error(at, "the name is empty", "write a name of 1 to 100 bytes");
            return None;
        }
        if name.len() > NAME_BYTES_MAX {
            let message = format!("the name has {} bytes, and {NAME_BYTES_MAX} are the most", name.len());
            self.error(at, message, "shorten it");
            return None;
        }
        Some(name)
    }

    /// A name that must be there.
    pub(super) fn required_name(&mut self, at: &At<'_>, fields: &Fields<'_>, what: &str) -> Option<String> {
        match fields.get("name") {
            Some(name) => self.name(&name),
            None => {
                self.error(at, format_args!("the {what} has no name"), "add `name`");
                None
            }
        }
    }

    pub(super) fn bool(&mut self, at: &At<'_>) -> Option<bool> {
        let scalar = self.scalar(at, "a boolean")?;
        let v1 = self.v1();
        let word = scalar.text.to_ascii_lowercase();
        let value = match (scalar.kind, word.as_str()) {
            (ScalarKind::Bool, word) => Some(word == "true"),
            (ScalarKind::Plain, "yes" | "y" | "on" | "true") if !v1 => Some(true),
            (ScalarKind::Plain, "no" | "n" | "off" | "false") if !v1 => Some(false),
            _ => None,
        };
        if value.is_none() {
            self.error(at, format_args!("expected a boolean, found `{}`", scalar.text), "write `true` or `false`");
        }
        value
    }

    pub(super) fn bool_field(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<bool> {
        fields.get(key).and_then(|at| self.bool(&at))
    }

    /// A whole number from `min` up.
    pub(super) fn number(&mut self, at: &At<'_>, min: u32) -> Option<u32> {
        let scalar = self.scalar(at, "a number")?;
        let value = scalar.text.parse::<u32>().ok().filter(|value| scalar.kind == ScalarKind::Number && *value >= min);
        if value.is_none() {
            let message = format!("expected a whole number from {min} to {}, found `{}`", u32::MAX, scalar.text);
            self.error(at, message, &format!("write a number without quotes, such as {}", min.max(1)));
        }
        value
    }

    /// A duration; none at all and zero are both "unset".
    pub(super) fn duration_field(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<Duration> {
        let at = fields.get(key)?;
        let scalar = self.scalar(&at, "a duration")?;
        match parse_duration(&scalar.text) {
            Ok(duration) => Some(duration).filter(|duration| !duration.is_zero()),
            Err(reason) => {
                let message = format!("`{}` cannot be a duration: {reason}", scalar.text);
                self.error(&at, message, "write for example `90s`, `15m` or `1h30m`");
                None
            }
        }
    }

    /// A quantity, read by `parse`.
    pub(super) fn quantity(
        &mut self,
        at: &At<'_>,
        parse: impl FnOnce(&str) -> Result<u64, &'static str>,
    ) -> Option<u64> {
        let scalar = self.scalar(at, "a quantity")?;
        match parse(&scalar.text) {
            Ok(quantity) => Some(quantity),
            Err(reason) => {
                let message = format!("`{}` cannot be a quantity: {reason}", scalar.text);
                self.error(at, message, "write for example `512Mi`, `2G` or `1048576`");
                None
            }
        }
    }

    /// A text or `{from_variable: name}`.
    pub(super) fn value(&mut self, at: &At<'_>) -> Option<ValueSource> {
        match &at.node.kind {
            NodeKind::Scalar(scalar) => {
                if !self.v1() && matches!(scalar.kind, ScalarKind::Bool | ScalarKind::Number) {
                    let message = format!("expected a string, found {} `{}`", at.node.describe(), scalar.text);
                    self.error(at, message, &format!("put it in quotes: \"{}\"", scalar.text));
                    return None;
                }
                Some(ValueSource::Text(scalar.text.clone()))
            }
            NodeKind::Map(_) => {
                let fields = self.fields(at, VALUE)?;
                match fields.get("from_variable") {
                    Some(name) => self.text(&name).map(ValueSource::Variable),
                    None => {
                        self.error(at, "the value names no variable", "write `from_variable: <name>`");
                        None
                    }
                }
            }
            _ => {
                let message = format!("expected a string or `from_variable`, found {}", at.node.describe());
                self.error(at, message, "an empty value is written \"\"");
                None
            }
        }
    }

    /// The variables of a run step, a task or a container.
    pub(super) fn environment(&mut self, fields: &Fields<'_>) -> BTreeMap<String, ValueSource> {
        let Some(at) = fields.get("environment") else { return BTreeMap::new() };
        let mut environment = BTreeMap::new();
        for (key, value) in self.free_map(&at) {
            if key.text.is_empty() || key.text.contains(['=', '\0']) {
                let message = format!("`{}` cannot be the name of a variable", key.text);
                self.error(&value, message, "a name is not empty and has no `=`");
                continue;
            }
            if let Some(source) = self.value(&value) {
                environment.insert(key.text.clone(), source);
            }
        }
        environment
    }
}
