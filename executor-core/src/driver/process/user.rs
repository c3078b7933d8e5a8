//! Is a user that a task asks for the one that we are anyway?

use std::fs;

use rustix::process::{getegid, geteuid};

use crate::driver::{DriverError, Result};

/// Refuses any user but the current one: a command never runs as somebody else than it was asked to.
pub(super) fn require_current(user: &str) -> Result<()> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if is_current(user, uid, gid, &passwd) {
        return Ok(());
    }
    Err(DriverError::Refused {
        message: format!(
            "the task asks for user `{user}`, and the process driver runs commands as the executor's own user \
             (uid {uid}): remove `user`, or use an executor with the docker or kubernetes driver"
        ),
    })
}

fn is_current(user: &str, uid: u32, gid: u32, passwd: &str) -> bool {
    let (user, group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    let name_of_uid = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    let user_matches = user.parse() == Ok(uid) || name_of_uid == Some(user);
    user_matches && group.is_none_or(|group| group.parse() == Ok(gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_current_user_passes() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nci:x:1000:100::/home/ci:/bin/sh\n";
        for user in ["ci", "1000", "ci:100", "1000:100"] {
            assert!(is_current(user, 1000, 100, passwd), "{user}");
        }
        for user in ["root", "0", "ci:0", "1001", "", "other"] {
            assert!(!is_current(user, 1000, 100, passwd), "{user}");
        }
    }
}
