//! What do tasks see of the environment of the machine? Pure.
//!
//! Everything, for that is what "here and now" means, except what belongs to the caller rather than to the machine:
//!
//! | variable | why tasks do not see it |
//! |---|---|
//! | `RUNYARD_*`, `AGOLA_*` | another run's, if `runyard run` is itself a step |
//! | `GIT_*` | they turn git away from the clone, if the caller is a hook; how to reach servers and who commits stay (`GIT_SSH*`, `GIT_SSL*`, `GIT_AUTHOR_*`, `GIT_COMMITTER_*`) |
//! | `PWD`, `OLDPWD` | the caller's directory |
//! | `CARGO`, `CARGO_PKG_*`, `CARGO_MANIFEST_*`, `CARGO_BIN_*` | they tell of `runyard`, if `cargo run` started it |
//! | `CARGO_TARGET_DIR`, `CARGO_BUILD_TARGET_DIR` | all tasks would build into one directory |
//!
//! The home of a task is its own, so that it finds nothing there which a server would not have. Tools that are
//! installed below the user's home through a manager would stop working; their managers are told where they are, unless
//! the user tells them already ([`MANAGERS`]).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The variable of each manager of tools, and where it is below the home if nothing is said.
const MANAGERS: [(&str, &str); 7] = [
    ("RUSTUP_HOME", ".rustup"),
    ("PYENV_ROOT", ".pyenv"),
    ("RBENV_ROOT", ".rbenv"),
    ("NVM_DIR", ".nvm"),
    ("VOLTA_HOME", ".volta"),
    ("ASDF_DATA_DIR", ".asdf"),
    ("SDKMAN_DIR", ".sdkman"),
];

/// Whether tasks see the variable.
pub(super) fn is_inherited(name: &str) -> bool {
    let dropped = ["PWD", "OLDPWD", "CARGO", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];
    let kept_of_git = ["GIT_SSH", "GIT_SSL", "GIT_AUTHOR_", "GIT_COMMITTER_"];
    let begins_with = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    !dropped.contains(&name)
        && !begins_with(&["RUNYARD_", "AGOLA_", "CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"])
        && (!name.starts_with("GIT_") || begins_with(&kept_of_git))
}

/// The variables that tell managers of tools where they are; `exists` says which directories there are.
pub(super) fn managers(
    is_set: impl Fn(&str) -> bool,
    home: Option<&Path>,
    exists: impl Fn(&Path) -> bool,
) -> BTreeMap<String, PathBuf> {
    let below = |name: &str| home.map(|home| home.join(name)).filter(|path| exists(path));
    MANAGERS
        .into_iter()
        .filter(|(variable, _)| !is_set(variable))
        .filter_map(|(variable, dir)| Some((variable.to_owned(), below(dir)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_caller_is_not_inherited() {
        for name in ["PATH", "LANG", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_AUTHOR_NAME", "MY_RUNYARD_X", "CARGO_HOME"] {
            assert!(is_inherited(name), "{name}");
        }
        for name in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_CONFIG_COUNT", "RUNYARD_TOKEN", "AGOLA_GIT_REF", "PWD", "CARGO_PKG_NAME"] {
            assert!(!is_inherited(name), "{name}");
        }
    }

    #[test]
    fn managers_are_told_where_they_are_unless_they_know() {
        let home = Path::new("/home/u");
        let exists = |path: &Path| path == home.join(".rustup") || path == home.join(".nvm");
        let told = managers(|name| name == "NVM_DIR", Some(home), exists);
        assert_eq!(told, BTreeMap::from([("RUSTUP_HOME".to_owned(), home.join(".rustup"))]));
        assert!(managers(|_| false, None, exists).is_empty());
    }
}
