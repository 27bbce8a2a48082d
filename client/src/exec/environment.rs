//! The environment of a command: built anew, so that nothing of the worker's own (tokens, proxies) leaks into it.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::account::Account;
use super::command::Command;

/// Where programs are looked for unless the command says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The base, what the command brings, and the mark of its tree, which wins over both.
pub(super) fn build(
    command: &Command,
    account: &Account,
    mark: &(String, String),
) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<OsString, OsString> = BTreeMap::from([
        ("PATH".into(), PATH.into()),
        ("HOME".into(), account.home.clone().into()),
        ("USER".into(), account.name.clone().into()),
        ("LOGNAME".into(), account.name.clone().into()),
    ]);
    env.extend(command.env.iter().map(|(key, value)| (key.into(), value.into())));
    env.insert(mark.0.clone().into(), mark.1.clone().into());
    env
}
