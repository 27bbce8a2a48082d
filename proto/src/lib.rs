//! The wire of marabunta: the gRPC messages of `proto/marabunta/v1/*.proto`, whose comments are the API reference, and the small
//! languages written in their strings.

pub mod duration;
pub mod label;
pub mod name;
pub mod selector;
pub mod target;
pub mod variable;
pub mod when;

/// The messages and services of the package `marabunta.v1`, as generated.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("marabunta.v1");
}

/// The descriptors of all of `marabunta.v1`, encoded: what gRPC reflection serves.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
