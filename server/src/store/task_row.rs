//! A row of `tasks`, which anybody may have written, as a task or as the reason why it is none.

/// A row of `tasks` that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTask {
    pub id: String,
    pub name: String,
    pub target: String,
    pub when: String,
    pub paused: bool,
    /// What is wrong, in words that name the column.
    pub problem: String,
}
