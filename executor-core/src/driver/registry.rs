//! Which credentials belong to an image? Pure.
//!
//! The lookup is docker's own, of its configuration file: by the host of the registry, with or without a scheme and a
//! version of the API behind it.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::contract::RegistryAuth;

/// Docker Hub, as credentials name it.
const DOCKER_HUB: &str = "index.docker.io";

/// The host of the registry that an image comes from.
///
/// The first component of a reference is a host if it has a dot or a port in it, or is `localhost` (the rule of
/// github.com/distribution/reference).
pub(super) fn host(image: &str) -> &str {
    let first = image.split_once('/').map(|(first, _)| first);
    match first.filter(|first| first.contains(['.', ':']) || *first == "localhost") {
        None | Some("docker.io") => DOCKER_HUB,
        Some(host) => host,
    }
}

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: String,
}

/// The credentials for the registry of `image`: none if there are none, an error, without any value in it, if they cannot
/// be read.
pub(super) fn credentials(image: &str, auths: &BTreeMap<String, RegistryAuth>) -> Result<Option<Credentials>, String> {
    let host = host(image);
    let Some(auth) = find(host, auths) else { return Ok(None) };
    match auth {
        RegistryAuth::Basic { username, password } => {
            Ok(Some(Credentials { username: username.expose().to_owned(), password: password.expose().to_owned() }))
        }
        RegistryAuth::EncodedAuth { auth } => {
            let decoded = STANDARD.decode(auth.expose().trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            match decoded.as_deref().and_then(|text| text.split_once(':')) {
                Some((username, password)) => {
                    Ok(Some(Credentials { username: username.to_owned(), password: password.to_owned() }))
                }
                None => Err(format!("the credentials for the registry `{host}` are not `user:password` in base64")),
            }
        }
    }
}

fn find<'a>(host: &str, auths: &'a BTreeMap<String, RegistryAuth>) -> Option<&'a RegistryAuth> {
    let schemes = ["", "https://", "http://"];
    let keys = schemes.iter().flat_map(|scheme| ["", "/", "/v1/", "/v2/"].map(|path| format!("{scheme}{host}{path}")));
    keys.into_iter().find_map(|key| auths.get(&key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Value;

    #[test]
    fn the_host_is_the_first_component_if_it_looks_like_one() {
        for (image, expected) in [
            ("busybox", "index.docker.io"),
            ("busybox:1.36", "index.docker.io"),
            ("library/busybox", "index.docker.io"),
            ("docker.io/library/busybox", "index.docker.io"),
            ("ghcr.io/a/b@sha256:abc", "ghcr.io"),
            ("localhost/a", "localhost"),
            ("127.0.0.1:5000/a:1", "127.0.0.1:5000"),
        ] {
            assert_eq!(host(image), expected, "{image}");
        }
    }

    #[test]
    fn credentials_are_found_in_every_spelling_and_belong_to_their_host_alone() {
        let basic = || RegistryAuth::Basic { username: "u".into(), password: Value::secret("p") };
        for key in ["ghcr.io", "https://ghcr.io", "http://ghcr.io/v1/", "ghcr.io/v2/", "https://ghcr.io/"] {
            let auths = BTreeMap::from([(key.to_owned(), basic())]);
            let found = credentials("ghcr.io/a/b", &auths).unwrap().unwrap();
            assert_eq!((found.username.as_str(), found.password.as_str()), ("u", "p"), "{key}");
            assert!(credentials("quay.io/a/b", &auths).unwrap().is_none(), "{key}");
        }
        let auths = BTreeMap::from([("https://index.docker.io/v1/".to_owned(), basic())]);
        assert!(credentials("busybox", &auths).unwrap().is_some(), "as `docker login` writes it");
    }

    #[test]
    fn encoded_credentials_are_decoded_and_an_error_shows_none() {
        let auths = |auth: &str| {
            BTreeMap::from([("r.example".to_owned(), RegistryAuth::EncodedAuth { auth: Value::secret(auth) })])
        };
        let found = credentials("r.example/a", &auths(&STANDARD.encode("user:pa:ss"))).unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("user", "pa:ss"));
        for wrong in ["hunter2", &STANDARD.encode("hunter2")] {
            let error = credentials("r.example/a", &auths(wrong)).err().unwrap();
            assert!(error.contains("r.example") && !error.contains(wrong), "{error}");
        }
    }
}
