//! What the server does not start with.

use std::time::Duration;

use marabunta_proto::duration::format;

use super::{Config, ConfigError, Settings};

/// Settings that do not go together.
pub(super) fn contradictions(settings: &Settings) -> Result<(), ConfigError> {
    let both = |one: bool, other: bool, text: &str| {
        if one && !other { Err(ConfigError::Contradiction(text.to_owned())) } else { Ok(()) }
    };
    let (mysql, redis) = (settings.mysql.is_some(), settings.redis.is_some());
    let (certificate, key) = (settings.tls_cert.is_some(), settings.tls_key.is_some());
    let (callers, workers) = (settings.token_file.is_some(), settings.worker_token_file.is_some());
    let authority = settings.client_ca.is_some();
    both(
        mysql,
        redis,
        "mysql goes with redis: give both for shared servers, or neither for an embedded one",
    )?;
    both(
        redis,
        mysql,
        "redis goes with mysql: give both for shared servers, or neither for an embedded one",
    )?;
    both(
        mysql,
        settings.data.is_none(),
        "data is the directory of an embedded server: leave it out with mysql and redis",
    )?;
    both(settings.redis_prefix.is_some(), redis, "redis-prefix goes with redis, which is not given")?;
    both(certificate, key, "tls-cert goes with tls-key: give both, or neither")?;
    both(key, certificate, "tls-key goes with tls-cert: give both, or neither")?;
    both(authority, certificate, "client-ca goes with tls-cert and tls-key: only TLS shows certificates")?;
    both(
        callers,
        workers || authority,
        "token-file without worker-token-file or client-ca would let in any worker",
    )?;
    both(
        workers,
        callers || authority,
        "worker-token-file without token-file or client-ca would let in any caller",
    )
}

/// Values that cannot work.
pub(super) fn out_of_range(config: &Config) -> Result<(), ConfigError> {
    let seconds = Duration::from_secs;
    between("poll-interval", config.poll_interval, seconds(1), seconds(3600))?;
    // Below, a worker that reconnects after the loss of its server would find its runs lost.
    between("lost-after", config.lost_after, seconds(1), seconds(3650 * 86_400))?;
    between("session-age", config.session_age, seconds(15), seconds(3650 * 86_400))?;
    between("drain-timeout", config.drain_timeout, Duration::ZERO, seconds(3600))?;
    between("retention", config.retention.age.unwrap_or_default(), seconds(60), seconds(3650 * 86_400))?;
    let count = |setting, value: usize, most: usize| {
        if (1..=most).contains(&value) {
            return Ok(());
        }
        Err(ConfigError::Value {
            setting,
            value: value.to_string(),
            right: format!("1 to {most} are allowed"),
        })
    };
    count("queue-cap", config.limits.waiting, 10_000_000)?;
    count("threads", config.threads, 256)?;
    if config.grpc == config.http && config.grpc.port() != 0 {
        let right = "grpc and http need addresses of their own".to_owned();
        return Err(ConfigError::Value { setting: "http", value: config.http.to_string(), right });
    }
    Ok(())
}

fn between(
    setting: &'static str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let right = format!("{} to {} are allowed", format(least), format(most));
    Err(ConfigError::Value { setting, value: format(value), right })
}

/// Doors that anybody could use from elsewhere.
pub(super) fn open_doors(config: &Config, insecure: bool) -> Result<(), ConfigError> {
    let doors = [("grpc", config.grpc), ("http", config.http)];
    let Some((door, address)) = doors.into_iter().find(|(_, address)| !address.ip().is_loopback()) else {
        return Ok(());
    };
    if insecure {
        return Ok(());
    }
    let Some(tls) = &config.tls else {
        return Err(ConfigError::Unsafe(format!(
            "{door} is {address}, which other hosts can reach, and would be in plaintext: give tls-cert and tls-key, or say insecure"
        )));
    };
    let knows =
        tls.client_ca.is_some() || (config.token_file.is_some() && config.worker_token_file.is_some());
    if config.grpc.ip().is_loopback() || knows {
        return Ok(());
    }
    Err(ConfigError::Unsafe(format!(
        "grpc is {address}, which other hosts can reach, and would let in anybody: give client-ca, or token-file and \
         worker-token-file, or say insecure"
    )))
}
