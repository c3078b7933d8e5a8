//! Which variables does the user hand to the definition's `from_variable`?
//!
//! `--var NAME=VALUE` wins over `--var-file FILE`, and a later file over an earlier one. A file is JSON or YAML with one
//! map of plain values (its name ends in `.json`, `.yml` or `.yaml`), or else lines `NAME=VALUE`, where empty lines and
//! lines that begin with `#` do not count, and a value may stand in a pair of quotes. All values are secret.

use std::{collections::BTreeMap, path::Path};

use runyard_executor_core::contract::Value;
use runyard_runconfig::{Node, NodeKind, parse_tree};

/// Reads all variables; `read` reads a file.
///
/// # Errors
/// A sentence that names the argument, file or line, never a value.
pub(super) fn variables(
    vars: &[String],
    files: &[std::path::PathBuf],
    read: impl Fn(&Path) -> std::io::Result<String>,
) -> Result<BTreeMap<String, Value>, String> {
    let mut all = BTreeMap::new();
    for file in files {
        let text = read(file)
            .map_err(|error| format!("the file of variables `{}` cannot be read: {error}", file.display()))?;
        all.extend(parse_file(file, &text)?);
    }
    for var in vars {
        let Some((name, value)) = var.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err("--var needs NAME=VALUE, such as --var TOKEN=abc".to_owned());
        };
        all.insert(name.to_owned(), value.to_owned());
    }
    Ok(all.into_iter().map(|(name, value)| (name, Value::secret(value))).collect())
}

fn parse_file(file: &Path, text: &str) -> Result<BTreeMap<String, String>, String> {
    let is_tree = file.extension().is_some_and(|it| it == "json" || it == "yml" || it == "yaml");
    if is_tree { parse_map(&file.display().to_string(), text) } else { parse_lines(file, text) }
}

fn parse_map(file: &str, text: &str) -> Result<BTreeMap<String, String>, String> {
    let root = parse_tree(file, text).map_err(|diagnostic| diagnostic.to_string())?.root;
    let NodeKind::Map(entries) = &root.kind else {
        return Err(format!("{file}: expected one map of names and values"));
    };
    let mut map = BTreeMap::new();
    for (key, node) in entries {
        map.insert(
            key.text.clone(),
            plain(node).ok_or_else(|| {
                format!(
                    "{file}:{}: the value of `{}` is neither a text, a number nor a boolean",
                    node.position, key.text
                )
            })?,
        );
    }
    Ok(map)
}

fn plain(node: &Node) -> Option<String> {
    match &node.kind {
        NodeKind::Scalar(scalar) => Some(scalar.text.clone()),
        NodeKind::Null | NodeKind::List(_) | NodeKind::Map(_) => None,
    }
}

fn parse_lines(file: &Path, text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut map = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
            return Err(format!("{}:{number}: expected NAME=VALUE", file.display()));
        };
        map.insert(name.trim().to_owned(), unquoted(value.trim()).to_owned());
    }
    Ok(map)
}

fn unquoted(value: &str) -> &str {
    let within = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn read(path: &Path) -> std::io::Result<String> {
        match path.to_str() {
            Some("a.env") => Ok("# c\nA=1\n\nexport B='two words'\nC=x=y\n".to_owned()),
            Some("b.json") => Ok(r#"{"A": "json", "N": 5}"#.to_owned()),
            Some("c.yml") => Ok("A: yaml\nM: true\n".to_owned()),
            Some("bad.yml") => Ok("A: [hush]\n".to_owned()),
            Some("bad.env") => Ok("A=1\nhush\n".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn values(vars: &[&str], files: &[&str]) -> Result<Vec<(String, String)>, String> {
        let vars: Vec<_> = vars.iter().map(|var| (*var).to_owned()).collect();
        let files: Vec<_> = files.iter().map(PathBuf::from).collect();
        let all = variables(&vars, &files, read)?;
        assert!(all.values().all(Value::is_secret));
        Ok(all.into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    }

    #[test]
    fn arguments_win_over_files_and_later_files_over_earlier_ones() {
        assert_eq!(values(&[], &["a.env"]), pairs(&[("A", "1"), ("B", "two words"), ("C", "x=y")]));
        assert_eq!(values(&["A=arg"], &["b.json", "c.yml"]), pairs(&[("A", "arg"), ("M", "true"), ("N", "5")]));
        assert_eq!(values(&["E="], &[]), pairs(&[("E", "")]));
    }

    #[test]
    fn errors_name_the_place_and_never_a_value() {
        for (var, file, place) in [
            ("hush", None, "--var"),
            ("A=1", Some("none.env"), "none.env"),
            ("A=1", Some("bad.env"), "bad.env:2"),
            ("A=1", Some("bad.yml"), "bad.yml:1"),
        ] {
            let error = values(&[var], file.as_slice()).expect_err("refused");
            assert!(error.contains(place), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
