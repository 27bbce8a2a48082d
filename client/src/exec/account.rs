//! Whom a command runs as.

use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, User, geteuid};
use serde::{Deserialize, Deserializer, de};

/// `name`, `name:group`, or numbers in place of either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSpec {
    user: String,
    group: Option<String>,
}

/// Why a command cannot run as its user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error(
        "{0:?} is not a user; write a name or a number, and a group after ':' if it is not the user's own"
    )]
    Format(String),
    #[error("this host has no user {0:?}")]
    NoUser(String),
    #[error("this host has no group {0:?}")]
    NoGroup(String),
    #[error("the host's user database could not be read: {0}")]
    Database(String),
    #[error("the worker may not become user {0:?}; it must run as root for that")]
    NotPermitted(String),
}

/// What the host knows of the user that a command runs as.
#[derive(Debug)]
pub(super) struct Account {
    pub name: String,
    pub home: PathBuf,
    /// What to change to; `None` if the worker is that user already.
    pub switch: Option<(Uid, Gid)>,
}

impl std::str::FromStr for UserSpec {
    type Err = AccountError;

    fn from_str(text: &str) -> Result<Self, AccountError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let word = |name: &str| !name.is_empty() && !name.contains([':', '\0', '/', ' ', '\n']);
        if !word(user) || !group.is_none_or(word) {
            return Err(AccountError::Format(text.into()));
        }
        Ok(Self { user: user.into(), group: group.map(Into::into) })
    }
}

impl std::fmt::Display for UserSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{}:{group}", self.user),
            None => f.write_str(&self.user),
        }
    }
}

impl<'de> Deserialize<'de> for UserSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Account {
    /// Asks the host's user database, which may be on the network: call it where blocking is allowed.
    pub fn look_up(spec: Option<&UserSpec>) -> Result<Self, AccountError> {
        let Some(spec) = spec else { return Self::own() };
        let user = match spec.user.parse::<u32>() {
            Ok(number) => User::from_uid(Uid::from_raw(number)),
            Err(_) => User::from_name(&spec.user),
        };
        let user = user.map_err(database)?.ok_or_else(|| AccountError::NoUser(spec.user.clone()))?;
        let gid = match &spec.group {
            None => user.gid,
            Some(group) => find_group(group)?,
        };
        let own = user.uid == geteuid() && gid == nix::unistd::getegid();
        Ok(Self { name: user.name, home: user.dir, switch: (!own).then_some((user.uid, gid)) })
    }

    /// The worker's own user, who need not be in the database (containers often run under a bare number).
    fn own() -> Result<Self, AccountError> {
        let uid = geteuid();
        Ok(match User::from_uid(uid).map_err(database)? {
            Some(user) => Self { name: user.name, home: user.dir, switch: None },
            None => Self { name: uid.to_string(), home: "/".into(), switch: None },
        })
    }
}

fn find_group(group: &str) -> Result<Gid, AccountError> {
    if let Ok(number) = group.parse::<u32>() {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(group).map_err(database)?;
    found.map(|group| group.gid).ok_or_else(|| AccountError::NoGroup(group.into()))
}

fn database(error: nix::Error) -> AccountError {
    AccountError::Database(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_looked_up_by_name_and_number() {
        let root = Account::look_up(Some(&"root".parse().unwrap())).unwrap();
        assert_eq!(root.name, "root");
        let by_number = Account::look_up(Some(&"0:0".parse().unwrap())).unwrap();
        assert_eq!((by_number.name, by_number.home), (root.name, root.home));
    }

    #[test]
    fn unknown_users_and_groups_are_named() {
        let rows = [
            ("no-such-user", AccountError::NoUser("no-such-user".into())),
            ("3999999999", AccountError::NoUser("3999999999".into())),
            ("root:no-such-group", AccountError::NoGroup("no-such-group".into())),
        ];
        for (spec, expected) in rows {
            assert_eq!(Account::look_up(Some(&spec.parse().unwrap())).unwrap_err(), expected);
        }
        for text in ["", ":", "a:", ":b", "a:b:c", "a b", "a\0"] {
            assert_eq!(text.parse::<UserSpec>(), Err(AccountError::Format(text.into())));
        }
    }
}
