//! Where do the keys come from?

use std::path::PathBuf;

use super::settings::{S3Credentials, Secret};
use crate::{Error, Result};

/// What is to be signed with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Keys {
    Static {
        access_key_id: String,
        secret_access_key: Secret,
        session_token: Option<Secret>,
    },
    /// `object_store` asks the environment, and then the machine.
    Environment,
}

/// Variables of the environment, by name.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Finds the keys; `read` reads a file, and is `None` if there is none.
pub(super) fn find(
    credentials: &S3Credentials,
    variable: Lookup<'_>,
    read: impl Fn(&PathBuf) -> Option<String>,
) -> Result<Keys> {
    const OF_THE_ENVIRONMENT: [&str; 4] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    let (name, file, must_exist) = match credentials {
        S3Credentials::Environment => return Ok(Keys::Environment),
        S3Credentials::Keys { access_key_id, secret_access_key, session_token } => {
            return Ok(Keys::Static {
                access_key_id: access_key_id.clone(),
                secret_access_key: secret_access_key.clone(),
                session_token: session_token.clone(),
            });
        }
        S3Credentials::Automatic if OF_THE_ENVIRONMENT.iter().any(|name| variable(name).is_some()) => {
            return Ok(Keys::Environment);
        }
        // Who names a profile wants that one.
        S3Credentials::Automatic => (None, None, variable("AWS_PROFILE").is_some()),
        S3Credentials::Profile { name, file } => (name.clone(), file.clone(), true),
    };
    let name = name.or_else(|| variable("AWS_PROFILE")).unwrap_or_else(|| "default".to_owned());
    let file = file.or_else(|| default_file(variable));
    let unusable = |message| Error::Unusable { message, source: None };
    let text = file.as_ref().and_then(&read);
    match (file, text) {
        (Some(file), Some(text)) => profile(&text, &name).ok_or_else(|| {
            unusable(format!(
                "`{}` has no profile `{name}` with `aws_access_key_id` and `aws_secret_access_key`: correct the name, \
                 or add them",
                file.display()
            ))
        }),
        (Some(file), None) if must_exist => Err(unusable(format!(
            "the credentials file `{}` cannot be read: create it, or name another",
            file.display()
        ))),
        (None, _) if must_exist => Err(unusable("no home directory is known: name the credentials file".to_owned())),
        _ => Ok(Keys::Environment),
    }
}

fn default_file(variable: Lookup<'_>) -> Option<PathBuf> {
    let beside_home = || Some(PathBuf::from(variable("HOME")?).join(".aws/credentials"));
    variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(beside_home)
}

/// The keys of a profile in the text of a credentials file.
fn profile(text: &str, name: &str) -> Option<Keys> {
    let (mut is_here, mut id, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_here = section.trim() == name;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_here) {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match key.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Keys::Static { access_key_id: id?, secret_access_key: secret?.into(), session_token: token.map(Secret::from) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# ours\n[default]\naws_access_key_id = A\naws_secret_access_key=B==\n\n[ci]\nregion=x\n\
                        aws_access_key_id=C\naws_secret_access_key = D\naws_session_token = E\n[half]\naws_access_key_id=F\n";

    fn keys(id: &str, secret: &str, token: Option<&str>) -> Keys {
        Keys::Static {
            access_key_id: id.into(),
            secret_access_key: secret.into(),
            session_token: token.map(Secret::from),
        }
    }

    fn named(name: &str) -> S3Credentials {
        S3Credentials::Profile { name: Some(name.into()), file: None }
    }

    #[test]
    fn keys_are_found_where_they_are() {
        let automatic = S3Credentials::Automatic;
        for (credentials, variables, has_file, expected) in [
            (&automatic, vec![("HOME", "/h")], true, keys("A", "B==", None)),
            (&automatic, vec![("HOME", "/h"), ("AWS_PROFILE", "ci")], true, keys("C", "D", Some("E"))),
            (&automatic, vec![("HOME", "/h"), ("AWS_ACCESS_KEY_ID", "X")], true, Keys::Environment),
            (&automatic, vec![("HOME", "/h")], false, Keys::Environment),
            (&automatic, vec![], false, Keys::Environment),
            (&S3Credentials::Environment, vec![("HOME", "/h")], true, Keys::Environment),
            (&named("ci"), vec![("HOME", "/h"), ("AWS_ACCESS_KEY_ID", "X")], true, keys("C", "D", Some("E"))),
        ] {
            let variable =
                |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, it)| (*it).into());
            let read = |path: &PathBuf| (has_file && path.ends_with("h/.aws/credentials")).then(|| FILE.to_owned());
            assert_eq!(find(credentials, &variable, read).expect("keys"), expected, "{credentials:?} {variables:?}");
        }
    }

    #[test]
    fn a_profile_that_is_not_there_is_named() {
        let home = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        for (credentials, text, expected) in [
            (named("nobody"), Some(FILE), "no profile `nobody`"),
            (named("half"), Some(FILE), "no profile `half`"),
            (named("ci"), None, "/h/.aws/credentials` cannot be read"),
        ] {
            let error = find(&credentials, &home, |_| text.map(str::to_owned)).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = find(&named("ci"), &|_| None, |_| None).expect_err("no home").to_string();
        assert!(error.contains("home"), "{error}");
    }
}
