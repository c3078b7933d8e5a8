//! What is in the environment of a command? Pure.

use std::collections::BTreeMap;

use super::{MARK, builder::Inherit};
use crate::contract::Environment;

/// The whole environment of a command. Later wins: inherited, the driver's, the home, the task's, the mark.
pub(super) fn environment(
    own: impl IntoIterator<Item = (String, String)>,
    inherit: &Inherit,
    driver: &BTreeMap<String, String>,
    home: &str,
    task: &Environment,
    pod: &str,
) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<_, _> = own.into_iter().filter(|(name, _)| inherits(inherit, name)).collect();
    environment.extend(driver.clone());
    environment.insert("HOME".to_owned(), home.to_owned());
    environment.extend(task.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())));
    environment.insert(MARK.to_owned(), pod.to_owned());
    environment
}

fn inherits(inherit: &Inherit, name: &str) -> bool {
    match inherit {
        Inherit::All => true,
        Inherit::Names(names) => names.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Value;

    #[test]
    fn only_what_is_listed_is_inherited_and_the_mark_cannot_be_changed() {
        let own = [("PATH", "/bin"), ("LC_ALL", "C"), ("SERVER_KEY", "hush"), ("HOME", "/root")];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let driver = BTreeMap::from([("A".to_owned(), "driver".to_owned()), ("B".to_owned(), "driver".to_owned())]);
        let task = Environment::from([("B".to_owned(), Value::secret("task")), (MARK.to_owned(), "fake".into())]);
        let seen = environment(own.clone(), &Inherit::default(), &driver, "/pod/home", &task, "pod-1");
        let seen: Vec<_> = seen.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected =
            [("A", "driver"), ("B", "task"), ("HOME", "/pod/home"), ("LC_ALL", "C"), ("PATH", "/bin"), (MARK, "pod-1")];
        assert_eq!(seen, expected);
        let all = environment(own, &Inherit::All, &driver, "/pod/home", &task, "pod-1");
        assert_eq!(all["SERVER_KEY"], "hush");
    }
}
