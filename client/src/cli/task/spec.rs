//! The arguments that describe a task. `create` and `edit` share them: what is not given is a default for the one and unchanged for the
//! other.

use std::{str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use marabunta_proto::v1::{self, TaskSpec, task_spec};

use crate::cli::{
    failure::Failure,
    job::{PolicyArgs, What, WhatArgs},
    moment::{self, Limit, parse_span},
};

/// Everything of a task but its name.
#[derive(Args, Debug)]
pub struct SpecArgs {
    /// Where: `web-1`, `any(role=web)` for one that matches and has the handler, `all(role=web)` for each that matches
    #[arg(long, short, value_name = "TARGET")]
    target: Option<String>,
    /// When: five crontab fields, six with seconds first, `@hourly`, `@every 1h30m`, `@at 2026-03-01T12:00:00Z`, or `now` for only by
    /// `task fire`; try it with `marabunta when`
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    when: Option<String>,
    /// IANA time zone in which it is read, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    what: WhatArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    firing: FiringArgs,
}

/// What happens around the moments of firing.
#[derive(Args, Debug)]
#[command(next_help_heading = "Firing")]
struct FiringArgs {
    /// Firings missed while no server was up: `none`, the `latest`, `all`, or `all:N` for the latest N [default: latest]
    #[arg(long, value_name = "none|latest|all[:N]")]
    catch_up: Option<CatchUp>,
    /// When the run before has not ended: run both, skip this one, wait for the other, or cancel it [default: allow]
    #[arg(long, value_enum)]
    overlap: Option<Overlap>,
    /// Spread the runs over this time, each always by the same delay
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    splay: Option<Duration>,
    /// Skip a missed firing that is later than this; `none` for no limit
    #[arg(long, value_name = "TIME")]
    start_deadline: Option<Limit>,
}

/// See `CatchUp` of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CatchUp {
    None,
    Latest,
    All(u32),
}

/// See `Overlap` of the API.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Overlap {
    Allow,
    Skip,
    Queue,
    Replace,
}

impl SpecArgs {
    /// A whole definition, which needs a target and something to run.
    pub fn create(&self, name: String) -> Result<TaskSpec, Failure> {
        if self.target.is_none() {
            return Err(Failure::Usage("--target is missing: where is the task to run?".to_owned()));
        }
        self.what.required()?;
        Ok(TaskSpec { name, ..self.spec()? })
    }

    /// The changed fields and their names as an update knows them; at least one.
    pub fn edit(&self, name: Option<String>) -> Result<(TaskSpec, Vec<String>), Failure> {
        let spec = self.spec()?;
        let mut fields = self.given(&spec);
        fields.extend(name.is_some().then_some("name"));
        if fields.is_empty() {
            return Err(Failure::Usage("nothing to change: give at least one option".to_owned()));
        }
        let spec = TaskSpec { name: name.unwrap_or_default(), ..spec };
        Ok((spec, fields.into_iter().map(str::to_owned).collect()))
    }

    fn spec(&self) -> Result<TaskSpec, Failure> {
        let what = self.what.what()?.map(|what| match what {
            What::Exec(exec) => task_spec::What::Exec(exec),
            What::Handler(handler) => task_spec::What::Handler(handler),
        });
        let (catch_up, catch_up_max) = self.firing.catch_up.map_or_else(Default::default, CatchUp::to_wire);
        Ok(TaskSpec {
            name: String::new(),
            description: self.description.clone().unwrap_or_default(),
            target: self.target.clone().unwrap_or_default(),
            when: self.when.clone().unwrap_or_else(|| "now".to_owned()),
            timezone: self.timezone.clone().unwrap_or_default(),
            what,
            payload: self.what.payload()?.unwrap_or_default(),
            policy: Some(self.policy.policy()),
            priority: self.policy.priority().into(),
            catch_up: catch_up.into(),
            catch_up_max,
            overlap: self.firing.overlap.map_or(v1::Overlap::Unspecified, v1::Overlap::from).into(),
            splay: self.firing.splay.map(moment::to_wire),
            start_deadline: self.firing.start_deadline.and_then(Limit::to_wire),
        })
    }

    fn given(&self, spec: &TaskSpec) -> Vec<&'static str> {
        let fields = [
            ("description", self.description.is_some()),
            ("target", self.target.is_some()),
            ("when", self.when.is_some()),
            ("timezone", self.timezone.is_some()),
            ("what", spec.what.is_some()),
            ("payload", !spec.payload.is_empty()),
            ("catch_up", self.firing.catch_up.is_some()),
            ("catch_up_max", matches!(self.firing.catch_up, Some(CatchUp::All(_)))),
            ("overlap", self.firing.overlap.is_some()),
            ("splay", self.firing.splay.is_some()),
            ("start_deadline", self.firing.start_deadline.is_some()),
        ];
        let given = fields.into_iter().filter_map(|(name, given)| given.then_some(name));
        given.chain(self.policy.given()).collect()
    }
}

impl CatchUp {
    fn to_wire(self) -> (v1::CatchUp, u32) {
        match self {
            Self::None => (v1::CatchUp::None, 0),
            Self::Latest => (v1::CatchUp::Latest, 0),
            Self::All(most) => (v1::CatchUp::All, most),
        }
    }
}

impl FromStr for CatchUp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("all:").map(str::parse)) {
            ("none", _) => Ok(Self::None),
            ("latest", _) => Ok(Self::Latest),
            // 0 leaves the number to the server.
            ("all", _) => Ok(Self::All(0)),
            (_, Some(Ok(most @ 1..=1000))) => Ok(Self::All(most)),
            _ => Err("write none, latest, all, or all:N with N from 1 to 1,000".to_owned()),
        }
    }
}

impl From<Overlap> for v1::Overlap {
    fn from(overlap: Overlap) -> Self {
        match overlap {
            Overlap::Allow => Self::Allow,
            Overlap::Skip => Self::Skip,
            Overlap::Queue => Self::Queue,
            Overlap::Replace => Self::Replace,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        spec: SpecArgs,
    }

    fn edited(line: &str) -> Vec<String> {
        let line = Line::try_parse_from(format!("edit {line}").split_whitespace()).unwrap();
        line.spec.edit(None).unwrap().1
    }

    #[test]
    fn an_edit_names_the_given_fields_alone() {
        let table: [(&str, &[&str]); 9] = [
            ("--when @hourly", &["when"]),
            ("--timeout none", &["policy.timeout"]),
            ("--retries 0 --priority low", &["policy.retries", "priority"]),
            ("--catch-up all:7", &["catch_up", "catch_up_max"]),
            ("--catch-up none", &["catch_up"]),
            ("--payload {}", &["payload"]),
            ("-- true", &["what"]),
            ("--handler backup --payload 1", &["what", "payload"]),
            ("--overlap skip --splay 5s --start-deadline 1m", &["overlap", "splay", "start_deadline"]),
        ];
        for (line, expected) in table {
            assert_eq!(edited(line), expected, "{line}");
        }
    }

    #[test]
    fn catch_up_says_how_many() {
        for (text, expected) in
            [("none", CatchUp::None), ("all", CatchUp::All(0)), ("all:1000", CatchUp::All(1000))]
        {
            assert_eq!(text.parse(), Ok(expected));
        }
        for wrong in ["", "all:0", "all:1001", "all:-1", "all:", "none:1", "ALL"] {
            assert!(wrong.parse::<CatchUp>().is_err(), "{wrong}");
        }
    }
}
