//! Where do the tools of this machine live, that a task with a home of its own would not find? Pure, but for [`here`].
//!
//! The home of a task is its own, so that it finds nothing there by accident. Tools that are installed below the user's
//! home through a manager would stop working; their managers are told where they are, unless somebody tells them
//! already ([`MANAGERS`]).

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

/// What tasks of this machine's user are told: the variables that are set, and the homes that are found.
pub(crate) fn here() -> BTreeMap<String, String> {
    let home = std::env::home_dir();
    let found = find(|name| std::env::var_os(name).map(PathBuf::from), home.as_deref(), Path::is_dir);
    found.into_iter().filter_map(|(name, path)| Some((name, path.to_str()?.to_owned()))).collect()
}

/// Each manager's home: what `variable` says, else its place below `home` if `exists` says that it is there.
fn find(
    variable: impl Fn(&str) -> Option<PathBuf>,
    home: Option<&Path>,
    exists: impl Fn(&Path) -> bool,
) -> BTreeMap<String, PathBuf> {
    let below = |name: &str| home.map(|home| home.join(name)).filter(|path| exists(path));
    MANAGERS
        .into_iter()
        .filter_map(|(name, place)| Some((name.to_owned(), variable(name).or_else(|| below(place))?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_are_told_where_they_are_unless_somebody_did() {
        let home = Path::new("/home/u");
        let exists = |path: &Path| path == home.join(".rustup") || path == home.join(".nvm");
        let variable = |name: &str| (name == "NVM_DIR").then(|| PathBuf::from("/opt/nvm"));
        let told = find(variable, Some(home), exists);
        let expected = [("NVM_DIR", "/opt/nvm".into()), ("RUSTUP_HOME", home.join(".rustup"))];
        assert_eq!(told, expected.map(|(name, path)| (name.to_owned(), path)).into());
        assert!(find(|_| None, None, exists).is_empty());
    }
}
