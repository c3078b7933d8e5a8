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

/// Whether tasks see the variable.
pub(super) fn is_inherited(name: &str) -> bool {
    let dropped = ["PWD", "OLDPWD", "CARGO", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];
    let kept_of_git = ["GIT_SSH", "GIT_SSL", "GIT_AUTHOR_", "GIT_COMMITTER_"];
    let begins_with = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    !dropped.contains(&name)
        && !begins_with(&["RUNYARD_", "AGOLA_", "CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"])
        && (!name.starts_with("GIT_") || begins_with(&kept_of_git))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_caller_is_not_inherited() {
        for name in
            ["PATH", "LANG", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_AUTHOR_NAME", "MY_RUNYARD_X", "CARGO_HOME"]
        {
            assert!(is_inherited(name), "{name}");
        }
        for name in
            ["GIT_DIR", "GIT_INDEX_FILE", "GIT_CONFIG_COUNT", "RUNYARD_TOKEN", "AGOLA_GIT_REF", "PWD", "CARGO_PKG_NAME"]
        {
            assert!(!is_inherited(name), "{name}");
        }
    }
}
