//! `marabunta.v1.Tasks`.

use bytes::Bytes;
use marabunta_proto::v1;
use tonic::{Request, Response, Status};

use super::convert::{self, Invalid, TaskDraft};
use crate::clock::StoreClock;
use crate::plan::{Tasks, TasksError};
use crate::run::{Durability, Payload, TaskRef};
use crate::store::Store;
use crate::submit::{self, Submit};
use crate::task::Task;

/// How many of a task's next firings are shown.
const NEXT: usize = 5;

pub struct TasksService {
    pub tasks: Tasks,
    pub submit: Submit,
    pub store: Store,
    pub clock: StoreClock,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl v1::tasks_server::Tasks for TasksService {
    async fn create(&self, request: Request<v1::CreateTaskRequest>) -> Answer<v1::Task> {
        let v1::CreateTaskRequest { task, paused } = request.into_inner();
        let task = task.ok_or_else(|| Invalid::missing("task", "it is the definition to create"))?;
        let TaskDraft { mut spec, payload } = convert::draft(task, self.clock.now())?;
        spec.payload = self.intern(payload).await?;
        self.shown(self.tasks.create(&spec, paused).await?).await
    }

    async fn get(&self, request: Request<v1::GetTaskRequest>) -> Answer<v1::Task> {
        match self.tasks.get(&key(request.into_inner().task)?).await {
            Err(TasksError::Bad(bad)) => Ok(Response::new(convert::bad_task(*bad))),
            task => self.shown(task?).await,
        }
    }

    async fn list(&self, request: Request<v1::ListTasksRequest>) -> Answer<v1::ListTasksResponse> {
        let v1::ListTasksRequest { prefix, page_size, page } = request.into_inner();
        let limit = convert::page_size(page_size)?;
        let after = Some(page).filter(|page| !page.is_empty());
        let page = self.tasks.list(&prefix, after.as_deref(), limit).await?;
        let now = self.clock.now();
        let mut tasks = Vec::with_capacity(page.tasks.len());
        for one in page.tasks {
            tasks.push(match one {
                Ok(task) => {
                    let payload = self.payload(&task.spec.payload).await?;
                    convert::task(task, payload.as_deref(), now, 1)
                }
                Err(bad) => convert::bad_task(bad),
            });
        }
        Ok(Response::new(v1::ListTasksResponse { tasks, next_page: page.next.unwrap_or_default() }))
    }

    async fn update(&self, request: Request<v1::UpdateTaskRequest>) -> Answer<v1::Task> {
        let v1::UpdateTaskRequest { task, spec, fields } = request.into_inner();
        let update = convert::update(spec.unwrap_or_default(), &fields, self.clock.now())?;
        let payload = match update.payload.clone() {
            Some(payload) => Some(self.intern(payload).await?),
            None => None,
        };
        let edit = |spec| update.apply(spec, payload.as_ref()).map_err(|error| error.to_string());
        self.shown(self.tasks.edit(&key(task)?, &edit).await?).await
    }

    async fn pause(&self, request: Request<v1::PauseTaskRequest>) -> Answer<v1::Task> {
        self.shown(self.tasks.pause(&key(request.into_inner().task)?, true).await?).await
    }

    async fn resume(&self, request: Request<v1::ResumeTaskRequest>) -> Answer<v1::Task> {
        self.shown(self.tasks.pause(&key(request.into_inner().task)?, false).await?).await
    }

    async fn fire(&self, request: Request<v1::FireTaskRequest>) -> Answer<v1::SubmitResponse> {
        let v1::FireTaskRequest { task, idempotency_key } = request.into_inner();
        let idempotency_key = convert::idempotency_key(idempotency_key)?;
        let task = self.tasks.get(&key(task)?).await?;
        let payload = self.payload(&task.spec.payload).await?;
        let payload =
            payload.ok_or_else(|| Status::failed_precondition("the task's payload is not there any more"))?;
        let spec = task.spec;
        let request = submit::Request {
            target: spec.target,
            handler: spec.handler,
            payload,
            policy: spec.policy,
            priority: spec.priority,
            durability: Durability::Durable,
            key: idempotency_key,
            online: false,
            task: Some(TaskRef { id: task.id, name: spec.name }),
            overlap: spec.overlap,
        };
        Ok(Response::new(convert::accepted(self.submit.submit(request).await?)))
    }

    async fn delete(&self, request: Request<v1::DeleteTaskRequest>) -> Answer<v1::DeleteTaskResponse> {
        self.tasks.delete(&key(request.into_inner().task)?).await?;
        Ok(Response::new(v1::DeleteTaskResponse {}))
    }
}

impl TasksService {
    async fn shown(&self, task: Task) -> Answer<v1::Task> {
        let payload = self.payload(&task.spec.payload).await?;
        Ok(Response::new(convert::task(task, payload.as_deref(), self.clock.now(), NEXT)))
    }

    async fn intern(&self, payload: Bytes) -> Result<Payload, Status> {
        let mut interned = self.store.intern(vec![payload]).await?;
        interned.pop().ok_or_else(|| Status::internal("the payload was not stored"))
    }

    async fn payload(&self, payload: &Payload) -> Result<Option<Bytes>, Status> {
        Ok(match payload {
            Payload::Inline(data) => Some(data.clone()),
            Payload::Stored(hash) => self.store.payload(*hash).await?,
        })
    }
}

/// A task's name or id. Plain SQL may have given it any name, so only the length is checked.
fn key(text: String) -> Result<String, Invalid> {
    match text.len() {
        1..=255 => Ok(text),
        _ => Err(Invalid::text("task", &text, "it must be the name or id of a task, 1 to 255 bytes")),
    }
}
