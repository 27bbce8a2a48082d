//! A policy as it is printed.

use marabunta_proto::v1::Policy;
use serde::Serialize;

use crate::cli::moment;

/// See `Policy` of the API.
#[derive(Serialize)]
pub struct PolicyView {
    retries: u32,
    backoff: Option<String>,
    max_lost: Option<u32>,
    timeout: Option<String>,
    expires: Option<String>,
}

impl PolicyView {
    /// The view of a policy; of the default one when there is none.
    pub fn of(policy: Option<&Policy>) -> Self {
        let policy = policy.copied().unwrap_or_default();
        Self {
            retries: policy.retries,
            backoff: moment::wire_span(policy.backoff.as_ref()),
            max_lost: policy.max_lost,
            timeout: moment::wire_span(policy.timeout.as_ref()),
            expires: moment::wire_span(policy.expires.as_ref()),
        }
    }

    /// `retries 3, timeout 10s`: what is set.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        if self.retries > 0 {
            words.push(format!("retries {}", self.retries));
        }
        let rest = [
            ("backoff", self.backoff.clone()),
            ("max-lost", self.max_lost.map(|count| count.to_string())),
            ("timeout", self.timeout.clone()),
            ("expires", self.expires.clone()),
        ];
        words.extend(
            rest.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value}"))),
        );
        words.join(", ")
    }
}
