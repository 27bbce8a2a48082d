//! `marabunta task`: definitions of what runs, where and when.

pub mod command;
pub mod spec;
