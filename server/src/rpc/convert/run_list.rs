//! Which runs a list is of.

use marabunta_proto::name::Name;
use marabunta_proto::target::Target;
use marabunta_proto::v1;

use super::invalid::{at_most, enumerated};
use super::submit::target;
use super::time::instant;
use super::{Invalid, page_size};
use crate::run::{Place, State};
use crate::store::{Cursor, RunFilter};

/// The filter, where to start, and how many.
pub fn run_filter(list: v1::ListRunsRequest) -> Result<(RunFilter, Option<Cursor>, u32), Invalid> {
    let states = list.states.into_iter().map(state).collect::<Result<_, _>>()?;
    at_most("task", &list.task, Name::MAX_LEN)?;
    let worker = |name: String| Name::parse_worker(&name).map_err(|error| Invalid::field("worker", error));
    let group = |id: String| id.parse().map_err(|error| Invalid::field("group", error));
    let page = |page: String| {
        page.parse()
            .map_err(|_| Invalid::text("page", &page, "it must be next_page of the answer before, or empty"))
    };
    let filter = RunFilter {
        states,
        task: filled(list.task),
        place: filled(list.target).map(|text| place(&text)).transpose()?,
        worker: filled(list.worker).map(worker).transpose()?,
        group: filled(list.group).map(group).transpose()?,
        since: list.since.map(|time| instant("since", time)).transpose()?,
        until: list.until.map(|time| instant("until", time)).transpose()?,
    };
    Ok((filter, filled(list.page).map(page).transpose()?, page_size(list.page_size)?))
}

fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn place(text: &str) -> Result<Place, Invalid> {
    match target(text)? {
        Target::Worker(name) => Ok(Place::Worker(name)),
        Target::Any(selector) => Ok(Place::Any(selector)),
        Target::All(_) => Err(Invalid::text(
            "target",
            text,
            "each run of an all(..) has its worker as its target; ask for that, or for the group",
        )),
    }
}

fn state(number: i32) -> Result<State, Invalid> {
    Ok(match enumerated("states", number)? {
        v1::RunState::Unspecified => {
            return Err(Invalid::value("states", number, "name a state, or leave the list empty for all"));
        }
        v1::RunState::Todo => State::Todo,
        v1::RunState::Queued => State::Queued,
        v1::RunState::Running => State::Running,
        v1::RunState::Done => State::Done,
        v1::RunState::Error => State::Error,
        v1::RunState::Cancelled => State::Cancelled,
        v1::RunState::Expired => State::Expired,
        v1::RunState::Skipped => State::Skipped,
    })
}
