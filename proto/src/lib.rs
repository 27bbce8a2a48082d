pub mod duration;
pub mod label;
pub mod name;
pub mod selector;
pub mod target;
pub mod when;
