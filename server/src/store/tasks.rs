//! Tasks, as the API creates and changes them.

use super::{BadTask, Store, StoreError};
use crate::run::TaskId;
use crate::task::{Task, TaskSpec};

/// Some tasks, by name. A row that plain SQL wrote and nobody can read is there too.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskPage {
    pub tasks: Vec<Result<Task, BadTask>>,
    /// Where the next page starts: after this name. `None` on the last.
    pub next: Option<String>,
}

impl Store {
    /// [`StoreError::Conflict`]: another task has the name.
    pub async fn create_task(&self, spec: &TaskSpec, paused: bool) -> Result<Task, StoreError> {
        todo!()
    }

    /// The task of this name or id.
    pub async fn task(&self, key: &str) -> Result<Option<Result<Task, BadTask>>, StoreError> {
        todo!()
    }

    /// The tasks whose names start so, by name, at most `limit`.
    pub async fn tasks(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<TaskPage, StoreError> {
        todo!()
    }

    /// Replaces a spec. [`StoreError::Changed`]: the row is not `from` any more (`None`: whatever it is), [`StoreError::NotFound`]: it is gone,
    /// [`StoreError::Conflict`]: another task has the new name.
    pub async fn update_task(
        &self,
        id: TaskId,
        from: Option<&TaskSpec>,
        to: &TaskSpec,
    ) -> Result<Task, StoreError> {
        todo!()
    }

    /// Pauses or resumes. `None`: no such task.
    pub async fn set_paused(
        &self,
        key: &str,
        paused: bool,
    ) -> Result<Option<Result<Task, BadTask>>, StoreError> {
        todo!()
    }

    /// Removes a task; what it has queued ahead is then found by [`Store::orphans`]. `false`: no such task.
    pub async fn delete_task(&self, key: &str) -> Result<bool, StoreError> {
        todo!()
    }
}
