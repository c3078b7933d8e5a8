//! Who is `name`, `uid`, `name:group` or `uid:gid` in this pod?
//!
//! `/etc/passwd` and `/etc/group` are read directly: the static binary has no name service, and the pod's image need
//! not have one either.

use std::fs;
use std::path::PathBuf;

/// A user that a command can run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups: none where a group was given.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: Option<PathBuf>,
}

/// Finds `user` in the files of this pod, or says why it cannot.
pub(crate) fn resolve(user: &str) -> Result<Identity, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    resolve_in(user, &read("/etc/passwd"), &read("/etc/group"))
}

/// The home of the user with this uid, if it is listed.
pub(crate) fn home_of(uid: u32) -> Option<PathBuf> {
    resolve(&uid.to_string()).ok()?.home
}

fn resolve_in(user: &str, passwd: &str, group: &str) -> Result<Identity, String> {
    let (user_part, group_part) = match user.split_once(':') {
        Some((user_part, group_part)) => (user_part, Some(group_part)),
        None => (user, None),
    };
    let by_name = entry(passwd, 7, |fields| fields[0] == user_part);
    let listed = by_name.or_else(|| entry(passwd, 7, |fields| fields[2] == user_part));
    let number = |field: &str| field.parse::<u32>().ok();
    let uid = listed.as_ref().and_then(|fields| number(fields[2])).or_else(|| number(user_part));
    let uid = uid.ok_or_else(|| format!("user `{user_part}` is not in /etc/passwd of this pod"))?;
    let home = listed.as_ref().map(|fields| PathBuf::from(fields[5]));
    if let Some(group_part) = group_part {
        let listed_group = entry(group, 4, |fields| fields[0] == group_part);
        let gid = listed_group.and_then(|fields| number(fields[2])).or_else(|| number(group_part));
        let gid = gid.ok_or_else(|| format!("group `{group_part}` is not in /etc/group of this pod"))?;
        return Ok(Identity { uid, gid, groups: Vec::new(), home });
    }
    let gid = listed.as_ref().and_then(|fields| number(fields[3])).unwrap_or(0);
    let name = listed.as_ref().map(|fields| fields[0]);
    let is_member = |fields: &[&str]| name.is_some_and(|name| fields[3].split(',').any(|member| member == name));
    let groups = lines(group, 4).filter(|fields| is_member(fields)).filter_map(|fields| number(fields[2])).collect();
    Ok(Identity { uid, gid, groups, home })
}

fn lines(text: &str, fields: usize) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(move |line| line.len() >= fields)
}

fn entry(text: &str, fields: usize, mut wanted: impl FnMut(&[&str]) -> bool) -> Option<Vec<&str>> {
    lines(text, fields).find(|fields| wanted(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nci:x:1000:100:CI:/home/ci:/bin/sh\nbroken\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\ndocker:x:998:bob,ci\nwheel:x:10:bob\n";

    fn resolved(user: &str) -> Result<(u32, u32, Vec<u32>), String> {
        resolve_in(user, PASSWD, GROUP).map(|identity| (identity.uid, identity.gid, identity.groups))
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        assert_eq!(resolved("ci"), Ok((1000, 100, vec![998])));
        assert_eq!(resolved("1000"), Ok((1000, 100, vec![998])));
        assert_eq!(resolved("ci:wheel"), Ok((1000, 10, vec![])));
        assert_eq!(resolved("4711"), Ok((4711, 0, vec![])));
        assert_eq!(resolved("4711:12"), Ok((4711, 12, vec![])));
        assert_eq!(resolve_in("ci", PASSWD, GROUP).unwrap().home, Some("/home/ci".into()));
    }

    #[test]
    fn an_unknown_name_is_named() {
        assert_eq!(resolved("eve"), Err("user `eve` is not in /etc/passwd of this pod".into()));
        assert_eq!(resolved("ci:eve"), Err("group `eve` is not in /etc/group of this pod".into()));
        assert!(resolved("").is_err());
    }
}
