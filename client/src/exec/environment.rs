//! The environment of a command: built anew, so that nothing of the worker's own (tokens, proxies) leaks into it.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::account::Account;
use super::command::Command;

/// The variable by which a process can be told to belong to a worker: `<owner>/<name of the supervisor>`.
pub(super) const MARK: &str = "MARABUNTA_TREE";

/// Where programs are looked for unless the command says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The base, what the command brings, and the mark of its tree, which wins over both.
pub(super) fn build(command: &Command, account: &Account, mark: &str) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<OsString, OsString> = BTreeMap::from([
        ("PATH".into(), PATH.into()),
        ("HOME".into(), account.home.clone().into()),
        ("USER".into(), account.name.clone().into()),
        ("LOGNAME".into(), account.name.clone().into()),
    ]);
    env.extend(command.env.iter().map(|(key, value)| (key.into(), value.into())));
    env.insert(MARK.into(), mark.into());
    env
}
