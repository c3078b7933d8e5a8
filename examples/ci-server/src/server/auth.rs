//! Who may call? Whoever knows the admin token, which is a file of the data directory.

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use crate::{configdata::ProjectId, git::Access, ids};

/// The beginning of tokens that only read a repository.
const READ_TOKEN: &str = "git-read-";

/// The secret that opens everything.
#[derive(Clone)]
pub(crate) struct AdminToken(Arc<str>);

impl AdminToken {
    /// Reads the token from its file, or makes one and writes it; says whether it is new.
    pub(crate) fn load_or_create(file: &Path) -> std::io::Result<(Self, bool)> {
        match std::fs::read_to_string(file) {
            Ok(text) if !text.trim().is_empty() => return Ok((Self(text.trim().into()), false)),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut secret = [0; 32];
        ids::fill_from_os(&mut secret)?;
        let token = ids::hex(&secret);
        write_private(file, format!("{token}\n").as_bytes())?;
        Ok((Self(token.into()), true))
    }

    /// Reads a token that the operator has made, such as one that several servers have in common.
    ///
    /// # Errors
    /// What is wrong with the file or its content, in words.
    pub(crate) fn from_file(file: &Path) -> Result<Self, String> {
        let named = |reason: &str| format!("token file `{}` cannot be used: {reason}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| named(&error.to_string()))?;
        let token = text.trim();
        if !(32..=64).contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(named(
                "it holds no token, which is 32 to 64 letters and digits; `openssl rand -hex 32` makes one",
            ));
        }
        Ok(Self(token.into()))
    }

    /// The token as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A token that can do nothing but read the repository of one project: what runs clone with.
    pub(crate) fn read_token(&self, project: &ProjectId) -> String {
        format!("{READ_TOKEN}{project}-{}", ids::hex(&self.mac(&format!("{READ_TOKEN}{project}"))))
    }

    /// The key that secrets of runs are sealed with: servers with the same token open what the others sealed.
    pub(crate) fn sealing_key(&self) -> [u8; 32] {
        self.mac("sealing-key")
    }

    /// HMAC-SHA-256 (RFC 2104) of what a token is for, under the admin token, which is 64 bytes at most: one block.
    fn mac(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 64];
        let length = self.0.len().min(key.len());
        key[..length].copy_from_slice(&self.0.as_bytes()[..length]);
        let hash = |pad: u8, message: &[u8]| -> [u8; 32] {
            Sha256::new().chain_update(key.map(|byte| byte ^ pad)).chain_update(message).finalize().into()
        };
        hash(0x5c, &hash(0x36, purpose.as_bytes()))
    }

    /// What a token that was given to git may do, if it is one.
    fn access(&self, given: &[u8]) -> Option<Access> {
        if self.is(given) {
            return Some(Access::Full);
        }
        let (project, _) = std::str::from_utf8(given).ok()?.strip_prefix(READ_TOKEN)?.rsplit_once('-')?;
        let project = ProjectId::parse(project)?;
        let expected = self.read_token(&project);
        bool::from(expected.as_bytes().ct_eq(given)).then_some(Access::Read(project))
    }

    /// Takes the same time whatever the text has in common with the token.
    fn is(&self, text: &[u8]) -> bool {
        Sha256::digest(self.0.as_bytes()).ct_eq(&Sha256::digest(text)).into()
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

/// Writes a file that only its owner reads, whole and on the disk, or not at all.
fn write_private(file: &Path, content: &[u8]) -> std::io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let new = file.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    opened.write_all(content)?;
    opened.sync_all()?;
    std::fs::rename(&new, file)?;
    std::fs::File::open(directory)?.sync_all()
}

/// Lets a request of the API pass if it carries the token.
pub(super) async fn require_bearer(State(token): State<AdminToken>, request: Request, next: Next) -> Response {
    match bearer(request.headers()) {
        Some(given) if token.is(given) => next.run(request).await,
        given => {
            let detail = match given {
                Some(_) => {
                    "the token is not valid: use the content of the file `admin-token` in the server's data directory"
                }
                None => {
                    "this call needs a token: send `Authorization: Bearer <token>`; the command line takes it from --token or RUNYARD_TOKEN"
                }
            };
            let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
            ([(header::WWW_AUTHENTICATE, "Bearer realm=\"Runyard\"")], problem).into_response()
        }
    }
}

/// Lets a request of git pass if it carries a token, as git clients can: as the password of any user.
pub(super) async fn require_basic(State(token): State<AdminToken>, mut request: Request, next: Next) -> Response {
    let password = basic_password(request.headers());
    let given = password.as_deref().or_else(|| bearer(request.headers()));
    if let Some(access) = given.and_then(|given| token.access(given)) {
        request.extensions_mut().insert(access);
        return next.run(request).await;
    }
    let message = "Give the server's token as the password, with any user name. The first one is in the file `admin-token` of the server's data directory.\n";
    let head = [
        (header::WWW_AUTHENTICATE, "Basic realm=\"Runyard\", charset=\"UTF-8\""),
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
    ];
    (StatusCode::UNAUTHORIZED, head, message).into_response()
}

fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (found, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    credentials(headers, "Bearer").map(str::as_bytes)
}

fn basic_password(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut decoded = STANDARD.decode(credentials(headers, "Basic")?).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded.split_off(colon + 1))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_token_is_made_once_and_only_its_owner_can_read_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("admin-token");
        let (first, is_new) = AdminToken::load_or_create(&file).expect("made");
        assert!(is_new && first.as_str().len() == 64);
        assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o600);
        let (second, is_new) = AdminToken::load_or_create(&file).expect("read");
        assert!(!is_new && second.is(first.as_str().as_bytes()));
        assert!(!second.is(b"") && !second.is(&first.as_str().as_bytes()[1..]));
    }

    #[test]
    fn a_token_that_was_given_is_taken_as_it_is_or_refused_with_what_to_do() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("token");
        let missing = AdminToken::from_file(&file).expect_err("missing");
        assert!(missing.contains("/token`"), "{missing}");
        std::fs::write(&file, format!("  {}\n", "a1".repeat(20))).expect("written");
        assert_eq!(AdminToken::from_file(&file).expect("a token").as_str(), "a1".repeat(20));
        for bad in [String::new(), "short".into(), "a".repeat(65), "a b".repeat(20), "-".repeat(40)] {
            std::fs::write(&file, &bad).expect("written");
            let refused = AdminToken::from_file(&file).expect_err("no token");
            assert!(refused.contains("openssl rand -hex 32"), "{refused}");
        }
    }

    #[test]
    fn a_read_token_opens_one_project_and_a_changed_one_opens_nothing() {
        let token = AdminToken("0123456789abcdef".repeat(4).into());
        let [one, two] = [1, 2].map(|seed| ProjectId::generate(&ids::Ids::seeded(seed)));
        let read = token.read_token(&one);
        assert_eq!(token.access(read.as_bytes()), Some(Access::Read(one.clone())));
        assert_eq!(token.access(token.as_str().as_bytes()), Some(Access::Full));
        let moved = read.replace(one.as_str(), two.as_str());
        let other = AdminToken("fedcba9876543210".repeat(4).into());
        for bad in [moved.as_str(), "", "git-read-", &read[..read.len() - 1]] {
            assert_eq!(token.access(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(other.access(read.as_bytes()), None);
    }

    #[test]
    fn the_password_of_basic_authentication_may_have_colons() {
        let headers = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a header"));
            headers
        };
        let password = basic_password(&headers(&format!("basic {}", STANDARD.encode("me:a:b"))));
        assert_eq!(password.as_deref(), Some(&b"a:b"[..]));
        for bad in ["Basic", "Basic ???", &format!("Basic {}", STANDARD.encode("nocolon")), "Bearer x"] {
            assert_eq!(basic_password(&headers(bad)), None, "{bad}");
        }
    }
}
