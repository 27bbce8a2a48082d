//! The worker's configuration: a TOML file, and flags that go before it.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use marabunta_proto::name::Name;
use serde::Deserialize;

use super::setup::{Builder, Worker};
use crate::{
    connect,
    exec::{ByteSize, HandlerConfig, Span},
};

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// URLs of servers or balancers, tried in turn.
    #[serde(default)]
    pub servers: Vec<String>,
    pub name: Option<String>,
    pub slots: Option<u32>,
    pub prefetch: Option<u32>,
    pub allow_exec: Option<bool>,
    pub spool: Option<PathBuf>,
    pub spool_limit: Option<ByteSize>,
    pub drain_timeout: Option<Span>,
    /// Where to answer health checks by HTTP.
    pub health: Option<SocketAddr>,
    pub token_file: Option<PathBuf>,
    pub tls_ca: Option<PathBuf>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    #[serde(default)]
    pub insecure: bool,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Commands by the name of their handler.
    #[serde(default)]
    pub handlers: BTreeMap<String, HandlerConfig>,
}

/// Flags of `marabunta worker` beside those that name the server.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct WorkerArgs {
    /// TOML file with the settings and the handlers; flags go before it
    #[arg(long, env = "MARABUNTA_WORKER_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// The worker's name, unique in the installation [default: this host's name]
    #[arg(long, env = "MARABUNTA_WORKER_NAME", hide_env_values = true)]
    pub name: Option<String>,
    /// A label for selectors; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// How many attempts run at once [default: the number of cores]
    #[arg(long)]
    pub slots: Option<u32>,
    /// How many more to take in advance [default: 0]
    #[arg(long)]
    pub prefetch: Option<u32>,
    /// Run any command that callers choose, with this process's rights
    #[arg(long)]
    pub allow_exec: bool,
    /// Directory for results that no server has yet [default: below the state directory of this user]
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// How long to wait for what runs after SIGTERM, before it is left to the next worker [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub drain_timeout: Option<Span>,
    /// Answer health checks by HTTP at this address
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub health: Option<SocketAddr>,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("read the configuration {path}: {1}", path = .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("trust the configuration {path}: {1}, and could make this worker run anything; chmod go-w it", path = .0.display())]
    Writable(PathBuf, &'static str),
    #[error("read the configuration {path}: {1}", path = .0.display())]
    Format(PathBuf, String),
    #[error("name this worker after its host, `{0}`: give it a --name of a-z 0-9 . _ -")]
    HostName(String),
    #[error("find a place for the spool: neither XDG_STATE_HOME nor HOME is set; give it a --spool")]
    NoSpool,
}

impl File {
    /// Reads a file that only its owner, root or the user of this process, can write.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |error| ConfigError::Read(path.to_owned(), error);
        let file = fs::File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let writable = |who| Err(ConfigError::Writable(path.to_owned(), who));
        if metadata.mode() & 0o002 != 0 {
            return writable("everybody can write it");
        }
        if metadata.mode() & 0o020 != 0 && metadata.gid() != nix::unistd::getegid().as_raw() {
            return writable("another group can write it");
        }
        if metadata.uid() != 0 && metadata.uid() != nix::unistd::geteuid().as_raw() {
            return writable("another user owns it");
        }
        let text = io::read_to_string(file).map_err(failed)?;
        toml::from_str(&text).map_err(|error| ConfigError::Format(path.to_owned(), error.to_string()))
    }
}

/// All that a worker needs, from flags, file and defaults. `connection` is what the flags say of the server; where they say nothing
/// the file is asked.
pub fn settle(
    args: WorkerArgs,
    connection: connect::Config,
) -> Result<(Builder, Option<SocketAddr>), ConfigError> {
    let file = args.config.as_deref().map_or_else(|| Ok(File::default()), File::read)?;
    let name = match args.name.or(file.name) {
        Some(name) => name,
        None => host_name()?,
    };
    let spool = match args.spool.or(file.spool) {
        Some(spool) => spool,
        None => default_spool(&name)?,
    };
    let mut servers: Vec<String> = connection.server.split(',').map(|url| url.trim().to_owned()).collect();
    if connection.server == connect::DEFAULT_SERVER && !file.servers.is_empty() {
        servers = file.servers;
    }
    let connection = connect::Config {
        server: String::new(),
        tls_ca: connection.tls_ca.or(file.tls_ca),
        tls_cert: connection.tls_cert.or(file.tls_cert),
        tls_key: connection.tls_key.or(file.tls_key),
        token_file: connection.token_file.or(if connection.token.is_none() { file.token_file } else { None }),
        token: connection.token,
        insecure: connection.insecure || file.insecure,
        dialer: None,
    };
    let mut builder = Worker::builder(name, spool)
        .allow_exec(args.allow_exec || file.allow_exec.unwrap_or(false))
        // This very file, also when another version has been put in its place.
        .supervisor("/proc/self/exe");
    for server in servers {
        builder = builder.server(connect::Config { server, ..connection.clone() });
    }
    for (key, value) in file.labels.into_iter().chain(args.labels) {
        builder = builder.label(key, value);
    }
    for (name, config) in file.handlers {
        builder = builder.command(name, config);
    }
    if let Some(slots) = args.slots.or(file.slots) {
        builder = builder.slots(slots);
    }
    if let Some(prefetch) = args.prefetch.or(file.prefetch) {
        builder = builder.prefetch(prefetch);
    }
    if let Some(limit) = file.spool_limit {
        builder = builder.spool_limit(limit.0);
    }
    if let Some(timeout) = args.drain_timeout.or(file.drain_timeout) {
        builder = builder.drain_timeout(timeout.0);
    }
    Ok((builder, args.health.or(file.health)))
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it like role=web".to_owned()),
    }
}

fn host_name() -> Result<String, ConfigError> {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    valid_name(&host).ok_or(ConfigError::HostName(host))
}

/// In lower case, with `-` for what a name cannot hold.
fn valid_name(host: &str) -> Option<String> {
    let valid =
        |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c.to_ascii_lowercase() } else { '-' };
    let name: String = host.chars().map(valid).take(128).collect();
    let name = name.trim_start_matches(['.', '-']);
    Name::parse_worker(name).ok().map(|name| name.as_str().to_owned())
}

/// `/var/lib/marabunta/NAME` for root, else `marabunta/NAME` in the state directory of the XDG base directory specification.
fn default_spool(name: &str) -> Result<PathBuf, ConfigError> {
    if nix::unistd::geteuid().is_root() {
        return Ok(Path::new("/var/lib/marabunta").join(name));
    }
    let set = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    Ok(state.ok_or(ConfigError::NoSpool)?.join("marabunta").join(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_host_name_becomes_a_valid_name() {
        let table = [
            ("web-1", Some("web-1")),
            ("Web-1.Example.COM", Some("web-1.example.com")),
            ("my host", Some("my-host")),
            ("-.x", Some("x")),
            ("any", None),
            ("größe", Some("gr--e")),
            ("", None),
            ("---", None),
        ];
        for (host, expected) in table {
            assert_eq!(valid_name(host).as_deref(), expected, "{host:?}");
        }
    }

    #[test]
    fn a_file_is_read_and_what_is_wrong_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("worker.toml");
        let table = [
            ("name = 'a'\nslots = 3\n[labels]\nrole = 'web'\n[handlers.backup]\nargv = ['/bin/true']", ""),
            ("", ""),
            ("slot = 3", "unknown field `slot`"),
            ("slots = '3'", "invalid type: string"),
            ("slots = -1", "invalid value: integer `-1`"),
            ("health = '127.0.0.1:70000'", "invalid socket address"),
            ("spool_limit = '256'", "no unit"),
            ("[handlers.x]\nargv = []", "argv is empty"),
            ("name = ", "TOML parse error"),
        ];
        for (text, expected) in table {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            match File::read(&path) {
                Ok(_) => assert_eq!(expected, "", "{text:?}"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(!expected.is_empty() && error.contains(expected), "{text:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn a_file_that_everybody_can_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("worker.toml");
        fs::write(&path, "").unwrap();
        for (mode, trusted) in [(0o600, true), (0o644, true), (0o646, false), (0o666, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = matches!(File::read(&path), Err(ConfigError::Writable(..)));
            assert_eq!(!refused, trusted, "{mode:o}");
        }
    }

    #[tokio::test]
    async fn flags_go_before_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("worker.toml");
        let text = format!(
            "servers = ['http://127.0.0.1:1', 'http://127.0.0.1:2']\nname = 'from-file'\nslots = 3\nspool = '{}'",
            directory.path().join("spool").display()
        );
        fs::write(&path, text).unwrap();
        let args = WorkerArgs { config: Some(path), name: Some("from-flag".into()), ..WorkerArgs::default() };
        let connection =
            connect::Config { server: connect::DEFAULT_SERVER.into(), ..connect::Config::default() };
        let (builder, health) = settle(args, connection).unwrap();
        assert_eq!(builder.summary(), ("from-flag", 2, 3));
        assert_eq!(health, None);
        builder.build().unwrap();
    }
}
