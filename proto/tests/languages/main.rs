//! The small languages written in the wire's strings: what they accept, what they refuse and why, and what they mean.

mod names;
mod schedules_clock;
mod schedules_clock_model;
mod schedules_days;
mod schedules_forms;
mod schedules_oracle;
mod schedules_refused;
mod targets;
mod targets_refused;
mod times;
