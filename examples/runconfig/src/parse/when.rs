//! Reading `when`.

use super::{At, Reader, fields::Fields, fields::Known};
use crate::{
    node::NodeKind,
    when::{Conditions, Pattern, When},
};

pub(crate) const WHEN: Known = Known::always(&["branch", "tag", "ref"]);
pub(crate) const CONDITIONS: Known = Known::always(&["include", "exclude"]);

impl Reader<'_> {
    /// Reads `when`, if there is one that is not null.
    pub(super) fn when(&mut self, fields: &Fields<'_>) -> Option<When> {
        let at = fields.get("when")?;
        let keys = self.fields(&at, WHEN)?;
        if keys.is_empty() {
            self.warning(&at, "an empty `when` never matches", "leave it out to match always");
        }
        Some(When {
            branch: self.conditions(&keys, "branch"),
            tag: self.conditions(&keys, "tag"),
            git_ref: self.conditions(&keys, "ref"),
            excludes_stand_alone: self.v1(),
        })
    }

    fn conditions(&mut self, keys: &Fields<'_>, key: &'static str) -> Option<Conditions> {
        let at = keys.get(key)?;
        if !matches!(at.node.kind, NodeKind::Map(_)) {
            return Some(Conditions { include: self.patterns(&at), exclude: Vec::new() });
        }
        let fields = self.fields(&at, CONDITIONS)?;
        let mut read = |key| fields.get(key).map(|at| self.patterns(&at)).unwrap_or_default();
        let conditions = Conditions { include: read("include"), exclude: read("exclude") };
        if !self.v1() && conditions.include.is_empty() && !conditions.exclude.is_empty() {
            let hint = "add `include: /.*/`, or say `version: v1`, where it means all but these";
            self.warning(&at, "an `exclude` without an `include` never matches", hint);
        }
        Some(conditions)
    }

    fn patterns(&mut self, at: &At<'_>) -> Vec<Pattern> {
        let items = if matches!(at.node.kind, NodeKind::List(_)) { self.list(at) } else { vec![at.clone()] };
        let mut patterns = Vec::new();
        for item in items {
            let Some(text) = self.text(&item) else { continue };
            match Pattern::parse(&text, self.version) {
                Ok(pattern) => patterns.push(pattern),
                Err(reason) => {
                    let hint = if text.starts_with(['/', '#']) {
                        "mend the regular expression (as in Go), or take the delimiters away to compare the name as it is"
                    } else {
                        "mend the glob, or write a `\\` before what is meant as it is"
                    };
                    self.error(&item, format_args!("the pattern `{text}` cannot be read: {reason}"), hint);
                }
            }
        }
        patterns
    }
}
