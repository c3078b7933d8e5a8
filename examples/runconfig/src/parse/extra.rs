//! Reading what `v1` adds: concurrency, schedules, inputs, retries and labels.

use std::collections::BTreeMap;

use runyard_executor_core::contract::FailureClass;
use runyard_runservice_core::model::{ConcurrencyPolicy, RetryPolicy};

use super::{
    At, Reader,
    fields::{Fields, Known},
};
use crate::{
    cron::check_cron,
    definition::{ConcurrencyDefinition, Input, InputKind, Schedule},
    node::NodeKind,
};

pub(crate) const POLICIES: [(&str, ConcurrencyPolicy); 4] = [
    ("queue", ConcurrencyPolicy::Queue),
    ("cancel_queued", ConcurrencyPolicy::CancelQueued),
    ("cancel_running", ConcurrencyPolicy::CancelRunning),
    ("parallel", ConcurrencyPolicy::Parallel),
];

pub(crate) const CLASSES: [(&str, FailureClass); 4] = [
    ("lost", FailureClass::Lost),
    ("infrastructure", FailureClass::Infrastructure),
    ("exit", FailureClass::Exit),
    ("timeout", FailureClass::Timeout),
];

pub(crate) const KINDS: [(&str, InputKind); 3] =
    [("string", InputKind::String), ("boolean", InputKind::Boolean), ("number", InputKind::Number)];

pub(crate) const CONCURRENCY: Known = Known::always(&["group", "policy"]);
pub(crate) const SCHEDULE: Known = Known::always(&["cron", "timezone"]);
pub(crate) const INPUT: Known = Known::always(&["type", "default", "required"]);
pub(crate) const RETRY: Known = Known::always(&["max", "on"]);

impl Reader<'_> {
    /// A word out of a table.
    fn word<T: Copy>(&mut self, at: &At<'_>, table: &[(&str, T)]) -> Option<T> {
        let text = self.text(at)?;
        let found = table.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<_> = table.iter().map(|(word, _)| *word).collect();
            self.error(at, format_args!("`{text}` is not known"), &format!("known here: {}", words.join(", ")));
        }
        found
    }

    pub(super) fn concurrency(&mut self, fields: &Fields<'_>) -> Option<ConcurrencyDefinition> {
        let at = fields.get("concurrency")?;
        let fields = self.fields(&at, CONCURRENCY)?;
        let policy = fields.get("policy").map_or(Some(ConcurrencyPolicy::Queue), |at| self.word(&at, &POLICIES))?;
        let group = fields.get("group").and_then(|at| self.name(&at));
        Some(ConcurrencyDefinition { group, policy })
    }

    pub(super) fn schedules(&mut self, fields: &Fields<'_>) -> Vec<Schedule> {
        let Some(at) = fields.get("schedule") else { return Vec::new() };
        let items = if matches!(at.node.kind, NodeKind::List(_)) { self.list(&at) } else { vec![at] };
        items.iter().filter_map(|item| self.schedule(item)).collect()
    }

    fn schedule(&mut self, at: &At<'_>) -> Option<Schedule> {
        let (cron, timezone) = if matches!(at.node.kind, NodeKind::Map(_)) {
            let fields = self.fields(at, SCHEDULE)?;
            (self.text_field(&fields, "cron").unwrap_or_default(), self.text_field(&fields, "timezone"))
        } else {
            (self.text(at)?, None)
        };
        if let Err(reason) = check_cron(&cron) {
            let message = format!("`{cron}` is not a cron expression: {reason}");
            self.error(at, message, "write five fields: minute hour day month weekday, such as \"0 3 * * 1-5\"");
            return None;
        }
        let is_zone = |char: char| char.is_ascii_alphanumeric() || matches!(char, '/' | '_' | '-' | '+');
        if let Some(zone) = timezone.as_ref().filter(|zone| zone.is_empty() || !zone.chars().all(is_zone)) {
            self.error(at, format_args!("`{zone}` is not a time zone"), "write the name of one, such as Europe/Rome");
            return None;
        }
        Some(Schedule { cron, timezone })
    }

    pub(super) fn inputs(&mut self, fields: &Fields<'_>) -> BTreeMap<String, Input> {
        let Some(at) = fields.get("inputs") else { return BTreeMap::new() };
        let mut inputs = BTreeMap::new();
        for (name, at) in self.free_map(&at) {
            if name.text.is_empty() || name.text.contains(['=', '\0']) {
                let message = format!("`{}` cannot be the name of a variable", name.text);
                self.error(&at, message, "a name is not empty and has no `=`");
                continue;
            }
            let input = if at.node.kind == NodeKind::Null { Some(Input::default()) } else { self.input(&at) };
            inputs.extend(input.map(|input| (name.text.clone(), input)));
        }
        inputs
    }

    fn input(&mut self, at: &At<'_>) -> Option<Input> {
        let fields = self.fields(at, INPUT)?;
        let kind = fields.get("type").map_or(Some(InputKind::String), |at| self.word(&at, &KINDS))?;
        let default = match (kind, fields.get("default")) {
            (_, None) => None,
            (InputKind::Boolean, Some(at)) => Some(self.bool(&at)?.to_string()),
            (InputKind::String, Some(at)) => self.text(&at),
            (InputKind::Number, Some(at)) => {
                let text = self.text(&at)?;
                if !InputKind::Number.accepts(&text) {
                    self.error(
                        &at,
                        format_args!("expected a number, found `{text}`"),
                        "write a number such as 3 or 0.5",
                    );
                }
                Some(text)
            }
        };
        Some(Input { kind, default, required: self.bool_field(&fields, "required").unwrap_or(false) })
    }

    pub(super) fn retry(&mut self, fields: &Fields<'_>) -> RetryPolicy {
        let Some(at) = fields.get("retry") else { return RetryPolicy::default() };
        let Some(fields) = self.fields(&at, RETRY) else { return RetryPolicy::default() };
        let max = fields.get("max").and_then(|at| self.number(&at, 0));
        if fields.get("max").is_none() {
            self.error(&at, "the retry does not say how often", "add `max: 1`");
        }
        let on = match fields.get("on") {
            Some(on) => self.list(&on).iter().filter_map(|item| self.word(item, &CLASSES)).collect(),
            // What the definition is not to blame for.
            None => vec![FailureClass::Lost, FailureClass::Infrastructure],
        };
        RetryPolicy { max: max.unwrap_or(0), on }
    }

    pub(super) fn labels(&mut self, fields: &Fields<'_>) -> BTreeMap<String, String> {
        let Some(at) = fields.get("labels") else { return BTreeMap::new() };
        let mut labels = BTreeMap::new();
        for (name, at) in self.free_map(&at) {
            labels.extend(self.text(&at).map(|text| (name.text.clone(), text)));
        }
        labels
    }
}
