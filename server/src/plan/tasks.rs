//! The doors' side of tasks. A change is stored, then planned at once.

use thiserror::Error;

use super::Planner;
use crate::run::TaskId;
use crate::store::{BadTask, Store, StoreError, TaskPage};
use crate::task::{Task, TaskSpec};

/// Reads and changes tasks. Cloning is cheap.
#[derive(Clone)]
pub struct Tasks {
    pub store: Store,
    pub planner: Planner,
}

/// A change of a spec.
pub type Edit<'a> = &'a (dyn Fn(TaskSpec) -> Result<TaskSpec, String> + Send + Sync);

/// Why a task was not read or changed.
#[derive(Debug, Error)]
pub enum TasksError {
    #[error("no task `{0}`, by name or id")]
    NotFound(String),
    /// The spec as edited is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// The row was written by plain SQL and cannot be read.
    #[error("task `{name}` cannot be read: {problem}", name = .0.name, problem = .0.problem)]
    Bad(Box<BadTask>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How often an edit is tried when others edit the same task.
const TRIES: usize = 5;

impl Tasks {
    /// Creates a task.
    pub async fn create(&self, spec: &TaskSpec, paused: bool) -> Result<Task, TasksError> {
        let task = self.store.create_task(spec, paused).await?;
        self.planned(task.id).await
    }

    /// The task of this name or id.
    pub async fn get(&self, key: &str) -> Result<Task, TasksError> {
        readable(key, self.store.task(key).await?)
    }

    /// Some tasks by name, those that cannot be read among them.
    pub async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<TaskPage, TasksError> {
        Ok(self.store.tasks(prefix, after, limit).await?)
    }

    /// Changes a task's spec. `edit` may be called more than once.
    pub async fn edit(&self, key: &str, edit: Edit<'_>) -> Result<Task, TasksError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let task = self.get(key).await?;
            let spec = edit(task.spec.clone()).map_err(TasksError::Invalid)?;
            match self.store.update_task(task.id, Some(&task.spec), &spec).await {
                Ok(task) => return self.planned(task.id).await,
                Err(StoreError::Changed) if tries < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Stops or restarts a task's firing.
    pub async fn pause(&self, key: &str, paused: bool) -> Result<Task, TasksError> {
        let task = readable(key, self.store.set_paused(key, paused).await?)?;
        self.planned(task.id).await
    }

    /// Removes a task and what is queued ahead of it.
    pub async fn delete(&self, key: &str) -> Result<(), TasksError> {
        if !self.store.delete_task(key).await? {
            return Err(TasksError::NotFound(key.to_owned()));
        }
        if let Err(error) = self.planner.withdraw_orphans().await {
            tracing::warn!(task = key, %error, "failed to withdraw a deleted task's runs: left to the next poll");
        }
        Ok(())
    }

    async fn planned(&self, task: TaskId) -> Result<Task, TasksError> {
        self.planner.plan_now(task).await;
        self.get(&task.to_string()).await
    }
}

fn readable(key: &str, task: Option<Result<Task, BadTask>>) -> Result<Task, TasksError> {
    match task {
        None => Err(TasksError::NotFound(key.to_owned())),
        Some(Ok(task)) => Ok(task),
        Some(Err(bad)) => Err(TasksError::Bad(Box::new(bad))),
    }
}
