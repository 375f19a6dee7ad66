//! The user that a command is to run as.
//!
//! Everything is looked up before the fork: the user database is no place to go
//! to between fork and exec. What is set is what `runuser -u` sets: user and
//! group ids, the supplementary groups of the group database, and `HOME`, `USER`
//! and `LOGNAME`. It is no login: no shell is started, PAM is not asked, limits,
//! umask, working directory and all other variables stay.

use nix::unistd::{self, Gid, Uid};
use std::collections::BTreeSet;
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;

/// Ids that system calls read as "leave it as it is".
const NOBODYS: u32 = u32::MAX;

/// A user to run a command as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub(super) uid: libc::uid_t,
    pub(super) gid: libc::gid_t,
    /// The supplementary groups, `gid` among them.
    pub(super) groups: Vec<libc::gid_t>,
    /// As it was asked for.
    asked: String,
    /// Nothing for a number that the user database does not have.
    name: Option<String>,
    home: OsString,
}

/// Why a command can't be run as a user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The user database has no such user.
    #[error("there is no user {0:?}")]
    NoUser(String),
    /// The group database has no such group.
    #[error("there is no group {0:?}")]
    NoGroup(String),
    /// A number without a name, of which no group is known.
    #[error("user {0} has no entry in the user database: give its group too, as {0}:GROUP")]
    GroupNeeded(u32),
    /// The databases can't be read.
    #[error("can't look up {0:?}: {1}")]
    Database(String, #[source] io::Error),
}

impl User {
    /// From `NAME`, `UID`, `NAME:GROUP` or `UID:GROUP`; a name that consists of digits is a
    /// name first.
    ///
    /// # Errors
    /// [`UserError`] where there is no such user or group.
    pub fn find(text: &str) -> Result<Self, UserError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let entry = entry(user)?;
        let number = user.parse().ok().filter(|&uid| uid != NOBODYS);
        let uid = match (&entry, number) {
            (Some(entry), _) => entry.uid.as_raw(),
            (None, Some(uid)) => uid,
            (None, None) => return Err(UserError::NoUser(user.to_owned())),
        };
        let gid = match (group, &entry) {
            (Some(group), _) => self::group(group)?,
            (None, Some(entry)) => entry.gid.as_raw(),
            (None, None) => return Err(UserError::GroupNeeded(uid)),
        };
        let groups = match &entry {
            Some(entry) => groups(&entry.name, gid)?,
            None => vec![gid],
        };
        Ok(Self {
            uid,
            gid,
            groups,
            asked: text.to_owned(),
            home: entry.as_ref().map_or("/".into(), |e| e.dir.clone().into()),
            name: entry.map(|entry| entry.name),
        })
    }

    /// As it was asked for.
    #[must_use]
    pub fn asked(&self) -> &str {
        &self.asked
    }

    /// The environment of this process, with the user's own variables.
    pub(super) fn environment(&self) -> Vec<CString> {
        let name = self.name.as_ref().map(OsString::from);
        let own = [
            ("HOME", Some(self.home.clone())),
            ("USER", name.clone()),
            ("LOGNAME", name),
        ];
        let inherited = std::env::vars_os().filter(|(key, _)| own.iter().all(|(o, _)| key != o));
        let own = own
            .iter()
            .filter_map(|(key, value)| Some((OsString::from(key), value.clone()?)));
        inherited
            .chain(own)
            .filter_map(|(mut variable, value)| {
                variable.push("=");
                variable.push(value);
                // No environment holds a NUL.
                CString::new(variable.into_vec()).ok()
            })
            .collect()
    }
}

fn entry(user: &str) -> Result<Option<unistd::User>, UserError> {
    let database = |error: nix::Error| UserError::Database(user.to_owned(), error.into());
    if user.is_empty() || user.contains('\0') {
        return Ok(None);
    }
    if let Some(entry) = unistd::User::from_name(user).map_err(database)? {
        return Ok(Some(entry));
    }
    match user.parse() {
        Ok(NOBODYS) | Err(_) => Ok(None),
        Ok(uid) => unistd::User::from_uid(Uid::from_raw(uid)).map_err(database),
    }
}

fn group(group: &str) -> Result<libc::gid_t, UserError> {
    let none = || UserError::NoGroup(group.to_owned());
    if group.is_empty() || group.contains('\0') {
        return Err(none());
    }
    let entry = unistd::Group::from_name(group)
        .map_err(|error| UserError::Database(group.to_owned(), error.into()))?;
    match (entry, group.parse()) {
        (Some(entry), _) => Ok(entry.gid.as_raw()),
        (None, Ok(gid)) if gid != NOBODYS => Ok(gid),
        (None, _) => Err(none()),
    }
}

/// What initgroups(3) would set.
fn groups(name: &str, gid: libc::gid_t) -> Result<Vec<libc::gid_t>, UserError> {
    let database = |error: io::Error| UserError::Database(name.to_owned(), error);
    let c_name = CString::new(name).map_err(|error| database(error.into()))?;
    let all = unistd::getgrouplist(&c_name, Gid::from_raw(gid))
        .map_err(|error| database(error.into()))?;
    let all: BTreeSet<_> = all.into_iter().map(Gid::as_raw).collect();
    Ok(all.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        let root = User::find("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(User::find("0").unwrap().name.as_deref(), Some("root"));
        let other = User::find("root:12345").unwrap();
        assert_eq!((other.uid, other.gid), (0, 12345));
        assert!(other.groups.contains(&12345));
        assert_eq!(User::find("root:root").unwrap().gid, 0);
    }

    #[test]
    fn a_number_without_a_name_needs_a_group() {
        let error = User::find("54321987").unwrap_err();
        assert!(
            matches!(error, UserError::GroupNeeded(54_321_987)),
            "{error}"
        );
        let user = User::find("54321987:7").unwrap();
        assert_eq!((user.uid, user.gid), (54_321_987, 7));
        assert_eq!(user.groups, [7]);
        let environment = user.environment();
        assert!(environment.contains(&c"HOME=/".to_owned()));
        let named = |variable: &CString| variable.to_bytes().starts_with(b"USER=");
        assert!(!environment.iter().any(named), "it has no name");
    }

    #[test]
    fn what_is_no_user_or_group_is_told() {
        for (text, what) in [
            ("", "there is no user \"\""),
            ("no-such-user", "there is no user \"no-such-user\""),
            ("-1", "there is no user \"-1\""),
            ("4294967295:0", "there is no user \"4294967295\""),
            ("root:", "there is no group \"\""),
            ("root:no-such-group", "there is no group \"no-such-group\""),
            (":root", "there is no user \"\""),
        ] {
            assert_eq!(User::find(text).unwrap_err().to_string(), what);
        }
    }

    #[test]
    fn each_variable_is_there_once() {
        let environment = User::find("root").unwrap().environment();
        let mut names: Vec<_> = environment
            .iter()
            .map(|variable| variable.to_bytes().split(|&b| b == b'=').next().unwrap())
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(environment.contains(&c"USER=root".to_owned()));
    }
}
