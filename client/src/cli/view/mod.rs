//! What is printed of runs, tasks and workers: each view serialises to the JSON of `-o json`, whose fields stay, and displays as the text of
//! people. Times are RFC 3339, spans like `1m30s`, states lower-case words; what is not there is null or empty, never left out.

pub mod policy;
pub mod run;
pub mod task;
pub mod word;
pub mod worker;
