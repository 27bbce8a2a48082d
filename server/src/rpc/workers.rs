//! `marabunta.v1.Workers`.

use marabunta_proto::name::Name;
use marabunta_proto::selector::Selector;
use marabunta_proto::v1;
use tonic::{Request, Response, Status};

use super::convert::{self, Invalid};
use crate::workers::Workers;

pub struct WorkersService {
    pub workers: Workers,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl v1::workers_server::Workers for WorkersService {
    async fn list(&self, request: Request<v1::ListWorkersRequest>) -> Answer<v1::ListWorkersResponse> {
        let v1::ListWorkersRequest { selector, page_size, page } = request.into_inner();
        let selector = Selector::parse(&selector).map_err(|error| Invalid::field("selector", error))?;
        let after = Some(page).filter(|page| !page.is_empty()).map(|page| name("page", &page)).transpose()?;
        let (workers, next) =
            self.workers.list(&selector, after.as_ref(), convert::page_size(page_size)?).await?;
        Ok(Response::new(v1::ListWorkersResponse {
            workers: workers.into_iter().map(convert::worker).collect(),
            next_page: next.map_or_else(String::new, |name| name.to_string()),
        }))
    }

    async fn get(&self, request: Request<v1::GetWorkerRequest>) -> Answer<v1::Worker> {
        let worker = self.workers.get(&name("name", &request.into_inner().name)?).await?;
        Ok(Response::new(convert::worker(worker)))
    }

    async fn drain(&self, request: Request<v1::DrainWorkerRequest>) -> Answer<v1::Worker> {
        let worker = self.workers.drain(&name("name", &request.into_inner().name)?, true).await?;
        Ok(Response::new(convert::worker(worker)))
    }

    async fn resume(&self, request: Request<v1::ResumeWorkerRequest>) -> Answer<v1::Worker> {
        let worker = self.workers.drain(&name("name", &request.into_inner().name)?, false).await?;
        Ok(Response::new(convert::worker(worker)))
    }
}

fn name(field: &str, text: &str) -> Result<Name, Invalid> {
    Name::parse_worker(text).map_err(|error| Invalid::field(field, error))
}
