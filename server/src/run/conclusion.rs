//! How a run ended, whole: what is kept for an hour of a fast run, until its history row is there.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use marabunta_proto::name::Name;
use prost::Message;

use super::{AttemptEnd, BodyError, Counters, Fence, Outcome, Reason, Run, RunId, State};

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    pub run: Run,
    pub state: State,
    /// There exactly for [`State::Error`].
    pub reason: Option<Reason>,
    /// What went wrong, in words; empty when nothing did.
    pub error: String,
    pub counters: Counters,
    /// The attempt that ended it; `None` when none did.
    pub attempt: Option<LastAttempt>,
    /// The server that recorded it.
    pub server: String,
}

/// The attempt that ended a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastAttempt {
    pub fence: Fence,
    /// From 1.
    pub number: u32,
    pub worker: Name,
    pub end: AttemptEnd,
}

#[derive(Clone, PartialEq, Message)]
struct Kept {
    #[prost(bytes = "bytes", tag = "1")]
    body: Bytes,
    #[prost(int64, tag = "2")]
    state: i64,
    #[prost(int64, tag = "3")]
    reason: i64,
    #[prost(string, tag = "4")]
    error: String,
    #[prost(uint32, tag = "5")]
    failed: u32,
    #[prost(uint32, tag = "6")]
    lost: u32,
    #[prost(string, tag = "7")]
    server: String,
    #[prost(message, optional, tag = "8")]
    attempt: Option<KeptAttempt>,
}

#[derive(Clone, PartialEq, Message)]
struct KeptAttempt {
    #[prost(uint64, tag = "1")]
    fence: u64,
    #[prost(uint32, tag = "2")]
    number: u32,
    #[prost(string, tag = "3")]
    worker: String,
    #[prost(int64, tag = "4")]
    outcome: i64,
    #[prost(sint32, optional, tag = "5")]
    exit_code: Option<i32>,
    #[prost(string, tag = "6")]
    error: String,
    #[prost(bytes = "bytes", tag = "7")]
    result: Bytes,
    #[prost(int64, optional, tag = "8")]
    started_us: Option<i64>,
    #[prost(int64, optional, tag = "9")]
    ended_us: Option<i64>,
    #[prost(uint64, tag = "10")]
    output_bytes: u64,
    #[prost(bool, tag = "11")]
    truncated: bool,
}

impl Conclusion {
    /// As bytes, without the run's id.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Kept {
            body: self.run.encode().into(),
            state: self.state as i64,
            reason: self.reason.map_or(0, |reason| reason as i64),
            error: self.error.clone(),
            failed: self.counters.failed,
            lost: self.counters.lost,
            server: self.server.clone(),
            attempt: self.attempt.as_ref().map(|attempt| KeptAttempt {
                fence: attempt.fence.0,
                number: attempt.number,
                worker: attempt.worker.to_string(),
                outcome: attempt.end.outcome as i64,
                exit_code: attempt.end.exit_code,
                error: attempt.end.error.clone(),
                result: attempt.end.result.clone(),
                started_us: attempt.end.started.map(|time| time.timestamp_micros()),
                ended_us: attempt.end.ended.map(|time| time.timestamp_micros()),
                output_bytes: attempt.end.output_bytes,
                truncated: attempt.end.truncated,
            }),
        }
        .encode_to_vec()
    }

    /// From what [`Conclusion::encode`] made.
    pub fn decode(id: RunId, bytes: &[u8]) -> Result<Self, BodyError> {
        let kept = Kept::decode(bytes)?;
        let attempt = match kept.attempt {
            None => None,
            Some(attempt) => Some(LastAttempt {
                fence: Fence(attempt.fence),
                number: attempt.number,
                worker: attempt.worker.parse().map_err(|_| BodyError::Field("worker"))?,
                end: AttemptEnd {
                    outcome: Outcome::from_number(attempt.outcome).ok_or(BodyError::Field("outcome"))?,
                    exit_code: attempt.exit_code,
                    error: attempt.error,
                    result: attempt.result,
                    started: time(attempt.started_us)?,
                    ended: time(attempt.ended_us)?,
                    output_bytes: attempt.output_bytes,
                    truncated: attempt.truncated,
                },
            }),
        };
        Ok(Self {
            run: Run::decode(id, &kept.body)?,
            state: State::from_number(kept.state).ok_or(BodyError::Field("state"))?,
            reason: Reason::from_number(kept.reason),
            error: kept.error,
            counters: Counters { failed: kept.failed, lost: kept.lost, unaccepted: 0 },
            attempt,
            server: kept.server,
        })
    }
}

fn time(micros: Option<i64>) -> Result<Option<DateTime<Utc>>, BodyError> {
    let time = |micros| DateTime::from_timestamp_micros(micros).ok_or(BodyError::Field("time"));
    micros.map(time).transpose()
}
