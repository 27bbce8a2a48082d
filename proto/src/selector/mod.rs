//! Selectors: which workers, by their labels, in the grammar of Kubernetes:
//!
//! ```text
//! selector    = [ requirement { "," requirement } ]
//! requirement = key | "!" key | key ( "=" | "==" | "!=" ) value | key ( "in" | "notin" ) "(" value { "," value } ")"
//! ```
//!
//! All requirements must hold; `!=` and `notin` hold for a worker that lacks the label. Keys and values follow
//! [`label`](crate::label); the key `name` stands for the worker's name, and `handler` for its handlers: `handler=backup`
//! holds for a worker that has it, whatever else it has. Unlike in Kubernetes a value is never empty
//! (`role=` is more often an unset variable than a wish), and `<` and `>` do not exist.
//!
//! Source: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>.

mod error;
mod parse;
mod requirement;
mod token;

pub use error::SelectorError;
pub use requirement::{Requirement, Selector, Test, Traits};
