//! How is an etcd written as one line, for command lines?

use std::{str::FromStr, time::Duration};

use runyard_objectstorage::address::{parameters, percent_decode};

use super::settings::{EtcdSettings, EtcdTls, EtcdUser, is_endpoint};

/// Why a text is no [`EtcdSettings`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEtcdUrl {
    /// It does not begin with `etcd://` or `etcds://`.
    #[error("it does not begin with `etcd://` or, for TLS, `etcds://`")]
    Scheme,
    /// The user has no password, or no name.
    #[error("before the `@` stands no USER:PASSWORD")]
    User,
    /// A member is not a host and a port.
    #[error("`{endpoint}` is not HOST:PORT; several are separated by commas")]
    Endpoint {
        /// What stands in its place.
        endpoint: String,
    },
    /// The prefix is missing or wrong.
    #[error("`{prefix}` is not a prefix of keys: after the last HOST:PORT comes /PREFIX, one for each store")]
    Prefix {
        /// What stands in its place.
        prefix: String,
    },
    /// There is no such parameter.
    #[error("there is no parameter `{name}`; there are ca, cert, key and lease")]
    UnknownParameter {
        /// Its name.
        name: String,
    },
    /// A parameter is there twice.
    #[error("the parameter `{name}` is given twice")]
    DuplicateParameter {
        /// Its name.
        name: String,
    },
    /// A parameter has a value that it cannot have.
    #[error("the parameter `{name}` cannot be `{value}`: {reason}")]
    Parameter {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// What it can be.
        reason: &'static str,
    },
    /// Something is percent-encoded, but not as UTF-8.
    #[error("the {part} is not well percent-encoded")]
    Encoding {
        /// What of the URL it is; not its text, which may be a password.
        part: &'static str,
    },
}

/// `etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT...]/PREFIX[?PARAMETER=VALUE&...]`, or `etcds://` for TLS; user,
/// password, prefix and values are percent-encoded where they need it.
///
/// | parameter | is |
/// |---|---|
/// | `ca`, `cert`, `key` | the files of [`EtcdTls`]; only with `etcds://` |
/// | `lease` | [`EtcdSettings::lease`], as in `5s`, `1m` |
///
/// Command lines are seen by every user of a machine: a password is better set in [`EtcdSettings::user`], from a file
/// or the environment.
impl FromStr for EtcdSettings {
    type Err = InvalidEtcdUrl;

    fn from_str(url: &str) -> Result<Self, InvalidEtcdUrl> {
        let (scheme, rest) = url.split_once("://").ok_or(InvalidEtcdUrl::Scheme)?;
        let tls = match scheme {
            "etcd" => None,
            "etcds" => Some(EtcdTls::default()),
            _ => return Err(InvalidEtcdUrl::Scheme),
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, prefix) = place.split_once('/').unwrap_or((place, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(parse_user(user)?), hosts),
            None => (None, authority),
        };
        let endpoints: Vec<_> = hosts.split(',').map(str::to_owned).collect();
        if let Some(endpoint) = endpoints.iter().find(|endpoint| !is_endpoint(endpoint)) {
            return Err(InvalidEtcdUrl::Endpoint { endpoint: endpoint.clone() });
        }
        let prefix = decode(prefix.strip_suffix('/').unwrap_or(prefix), "prefix")?;
        if prefix.is_empty() || prefix.starts_with('/') || prefix.ends_with('/') {
            return Err(InvalidEtcdUrl::Prefix { prefix });
        }
        let mut settings = Self { user, tls, ..Self::new(endpoints, prefix) };
        let duplicate = |name: &str| InvalidEtcdUrl::DuplicateParameter { name: name.to_owned() };
        let parameters = parameters(query).map_err(duplicate)?;
        for (name, value) in &parameters {
            set(&mut settings, name, decode(value, "value of a parameter")?)?;
        }
        let is_given = |name: &str| parameters.iter().any(|(given, _)| *given == name);
        if let Some(name) =
            ["cert", "key"].into_iter().find(|name| is_given(name) && !(is_given("cert") && is_given("key")))
        {
            let reason = "`cert` and `key` are given together";
            return Err(InvalidEtcdUrl::Parameter { name: name.to_owned(), value: "alone".to_owned(), reason });
        }
        Ok(settings)
    }
}

fn parse_user(user: &str) -> Result<EtcdUser, InvalidEtcdUrl> {
    let (name, password) = user.split_once(':').ok_or(InvalidEtcdUrl::User)?;
    let (name, password) = (decode(name, "user")?, decode(password, "password")?);
    if name.is_empty() || password.is_empty() {
        return Err(InvalidEtcdUrl::User);
    }
    Ok(EtcdUser { name, password })
}

fn set(settings: &mut EtcdSettings, name: &str, value: String) -> Result<(), InvalidEtcdUrl> {
    let refused = |value: String, reason| Err(InvalidEtcdUrl::Parameter { name: name.to_owned(), value, reason });
    if !matches!(name, "ca" | "cert" | "key" | "lease") {
        return Err(InvalidEtcdUrl::UnknownParameter { name: name.to_owned() });
    }
    if value.is_empty() {
        return refused(value, "it is empty");
    }
    if name == "lease" {
        match seconds(&value) {
            Some(lease) => settings.lease = lease,
            None => return refused(value, "it is whole seconds or minutes up to a day, as in `5s` or `1m`"),
        }
        return Ok(());
    }
    let Some(tls) = &mut settings.tls else {
        return refused(value, "there is no TLS; begin with `etcds://`");
    };
    let file = match name {
        "ca" => &mut tls.ca,
        "cert" => &mut tls.cert,
        _ => &mut tls.key,
    };
    *file = Some(value.into());
    Ok(())
}

fn seconds(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len() - 1)?;
    let number: u64 = number.parse().ok()?;
    let seconds = match unit {
        "s" => number,
        "m" => number.checked_mul(60)?,
        _ => return None,
    };
    (1..=86_400).contains(&seconds).then(|| Duration::from_secs(seconds))
}

fn decode(text: &str, part: &'static str) -> Result<String, InvalidEtcdUrl> {
    percent_decode(text).ok_or(InvalidEtcdUrl::Encoding { part })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_members_a_prefix_and_parameters() {
        let parse = |url: &str| url.parse::<EtcdSettings>().expect(url);
        assert_eq!(parse("etcd://h:1/p"), EtcdSettings::new(["h:1"], "p"));
        assert_eq!(parse("etcd://h:1,[::1]:2,i:3/a/b%20c/"), EtcdSettings::new(["h:1", "[::1]:2", "i:3"], "a/b c"));
        let settings = parse("etcds://ci:p%40ss:w%2Frd@h:1/p?ca=/a&cert=/b&key=%2Fc&lease=2m");
        let user = EtcdUser { name: "ci".into(), password: "p@ss:w/rd".into() };
        assert_eq!(settings.user, Some(user));
        let tls = EtcdTls { ca: Some("/a".into()), cert: Some("/b".into()), key: Some("/c".into()) };
        assert_eq!((settings.tls, settings.lease), (Some(tls), Duration::from_secs(120)));
        assert_eq!(parse("etcds://h:1/p").tls, Some(EtcdTls::default()));
    }

    #[test]
    fn what_is_wrong_is_named_and_passwords_are_not() {
        for (url, expected) in [
            ("", "`etcd://`"),
            ("http://h:1/p", "`etcds://`"),
            ("etcd://", "`` is not HOST:PORT"),
            ("etcd://h/p", "`h` is not HOST:PORT"),
            ("etcd://h:1,,i:2/p", "`` is not HOST:PORT"),
            ("etcd://h:1,i:x/p", "`i:x`"),
            ("etcd://h:1", "one for each store"),
            ("etcd://h:1//p", "`/p`"),
            ("etcd://secret@h:1/p", "no USER:PASSWORD"),
            ("etcd://:secret@h:1/p", "no USER:PASSWORD"),
            ("etcd://u:%zzsecret@h:1/p", "the password is not well"),
            ("etcd://h:1/%ff", "the prefix is not well"),
            ("etcd://h:1/p?leese=1s", "no parameter `leese`"),
            ("etcd://h:1/p?lease=1s&lease=1s", "`lease` is given twice"),
            ("etcd://h:1/p?lease", "`lease` cannot be ``"),
            ("etcd://h:1/p?lease=5", "`lease` cannot be `5`"),
            ("etcd://h:1/p?lease=0s", "`lease` cannot be `0s`"),
            ("etcd://h:1/p?lease=2d", "as in `5s`"),
            ("etcd://h:1/p?lease=%C3%A9", "`lease` cannot be"),
            ("etcd://h:1/p?ca=/x", "begin with `etcds://`"),
            ("etcds://h:1/p?cert=/x", "given together"),
            ("etcds://h:1/p?key=/x", "given together"),
        ] {
            let error = url.parse::<EtcdSettings>().expect_err(url).to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{url}: {error}");
        }
    }
}
