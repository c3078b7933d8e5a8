//! Reading credentials of registries.

use std::collections::BTreeMap;

use super::{
    At, Reader,
    fields::{Fields, Known},
};
use crate::definition::{AuthDefinition, ValueSource};

pub(crate) const AUTH: Known = Known::always(&["type", "username", "password", "auth"]);

impl Reader<'_> {
    /// Reads `docker_registries_auth`.
    pub(super) fn registries_auth(&mut self, fields: &Fields<'_>) -> BTreeMap<String, AuthDefinition> {
        let Some(at) = fields.get("docker_registries_auth") else { return BTreeMap::new() };
        let mut result = BTreeMap::new();
        for (registry, entry) in self.free_map(&at) {
            if let Some(auth) = self.auth(&entry) {
                result.insert(registry.text.clone(), auth);
            }
        }
        result
    }

    fn auth(&mut self, at: &At<'_>) -> Option<AuthDefinition> {
        let fields = self.fields(at, AUTH)?;
        if fields.is_empty() {
            self.error(at, "the credentials are empty", "add `username` and `password`");
            return None;
        }
        let kind = self.text_field(&fields, "type");
        match kind.as_deref() {
            None | Some("" | "basic") => {
                if fields.get("auth").is_some() && fields.get("username").is_none() {
                    let hint = "add `type: encodedauth`, or write `username` and `password`";
                    self.error(at, "`auth` has no meaning in credentials of type `basic`", hint);
                    return None;
                }
                let username = self.part(at, &fields, "username")?;
                let password = self.part(at, &fields, "password")?;
                Some(AuthDefinition::Basic { username, password })
            }
            Some("encodedauth") => Some(AuthDefinition::Encoded { auth: self.part(at, &fields, "auth")? }),
            Some(other) => {
                let message = format!("the type of credentials `{other}` is not known");
                self.error(at, message, "write `basic` or `encodedauth`");
                None
            }
        }
    }

    /// One part of the credentials. A missing one is taken for an empty text, as it always was.
    fn part(&mut self, at: &At<'_>, fields: &Fields<'_>, key: &'static str) -> Option<ValueSource> {
        if let Some(at) = fields.get(key) {
            return self.value(&at);
        }
        self.lapse(at.node.position, &at.path, format!("the credentials have no `{key}`"), &format!("add `{key}`"));
        Some(ValueSource::Text(String::new()))
    }
}
