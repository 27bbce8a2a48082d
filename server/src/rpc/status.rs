//! The one table from errors to gRPC status.

use tonic::{Code, Status};
use tracing::error;

use super::convert::{FromWire, Invalid};
use crate::dispatch::ConnectError;
use crate::follow::{CursorError, FollowError};
use crate::plan::TasksError;
use crate::queue::QueueError;
use crate::run::{BodyError, IdError};
use crate::store::StoreError;
use crate::submit::SubmitError;
use crate::workers::WorkersError;

/// What a caller is told. Its message never holds more than the error says.
fn status(code: Code, failure: impl std::fmt::Display) -> Status {
    let message = failure.to_string();
    if code == Code::Internal {
        error!(error = message, "a call failed for a reason that is not its caller's");
    }
    Status::new(code, message)
}

/// Says the code of an error by its kind.
macro_rules! table {
    ($($error:ident: $($pattern:pat => $code:ident),+;)+) => {$(
        impl From<$error> for Status {
            fn from(failure: $error) -> Self {
                #[allow(unreachable_patterns)]
                let code = match &failure { $($pattern => Code::$code),+ };
                status(code, failure)
            }
        }
    )+};
}

table! {
    Invalid: _ => InvalidArgument;
    IdError: _ => InvalidArgument;
    CursorError: _ => InvalidArgument;
    FromWire: FromWire::Invalid(_) => InvalidArgument, FromWire::Protocol(_) => FailedPrecondition;
    BodyError: _ => Internal;
    ConnectError:
        ConnectError::Flapping(_) => AlreadyExists,
        ConnectError::Queue(_) | ConnectError::Stopping | ConnectError::Dropped => Unavailable;
    SubmitError:
        SubmitError::NoWorker(_) | SubmitError::Offline(_) | SubmitError::KeyReused(_) => FailedPrecondition,
        SubmitError::Full(_) | SubmitError::Exhausted(_) => ResourceExhausted,
        SubmitError::Unavailable(_) => Unavailable,
        SubmitError::Internal(_) => Internal;
    StoreError:
        StoreError::Unavailable(_) => Unavailable,
        StoreError::Conflict(_) => AlreadyExists,
        StoreError::Changed => Aborted,
        StoreError::NotFound(_) => NotFound,
        StoreError::Corrupt(_) | StoreError::Unusable(_) => Internal;
    QueueError:
        QueueError::Unavailable(_) => Unavailable,
        QueueError::Full(_) => ResourceExhausted,
        QueueError::Unusable(_) => Internal;
}

impl From<FollowError> for Status {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::NotFound(_) => status(Code::NotFound, error),
            FollowError::Store(error) => error.into(),
            FollowError::Queue(error) => error.into(),
            FollowError::Body(error) => error.into(),
        }
    }
}

impl From<TasksError> for Status {
    fn from(error: TasksError) -> Self {
        match error {
            TasksError::NotFound(_) => status(Code::NotFound, error),
            TasksError::Invalid(_) => status(Code::InvalidArgument, error),
            TasksError::Bad(_) => status(Code::FailedPrecondition, error),
            TasksError::Store(error) => error.into(),
        }
    }
}

impl From<WorkersError> for Status {
    fn from(error: WorkersError) -> Self {
        match error {
            WorkersError::NotFound(_) => status(Code::NotFound, error),
            WorkersError::Store(error) => error.into(),
            WorkersError::Queue(error) => error.into(),
        }
    }
}
