//! `marabunta when`: the times at which a schedule fires, before anything trusts it. It needs no server.

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use marabunta_proto::when;
use serde::Serialize;

use super::{
    console::say,
    failure::Failure,
    moment::{now, parse_rfc3339},
    output::{Format, OutputArgs, print, print_json},
};

/// Examples for the help.
pub const EXAMPLES: &str = "\
Examples:
  marabunta when '*/15 9-17 * * MON-FRI' --timezone America/New_York
  marabunta when '30 2 * * *' --timezone Europe/Berlin --after 2026-03-28T00:00:00Z --count 3
  marabunta when '@every 1h30m' -o json";

/// Arguments of `when`.
#[derive(Args, Debug)]
pub struct WhenArgs {
    /// Five crontab fields, six with seconds first, `@hourly` and its like, `@every 1h30m`, `@at 2026-03-01T12:00:00Z`, or `now`
    #[arg(value_name = "WHEN", allow_hyphen_values = true)]
    when: String,
    /// IANA time zone in which it is read
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    timezone: String,
    /// Only times after this one, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_rfc3339)]
    after: Option<DateTime<Utc>>,
    /// How many times
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    count: u16,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Preview<'a> {
    when: &'a str,
    timezone: &'a str,
    after: String,
    times: Vec<String>,
}

/// Prints the times, with the zone's offset at each.
pub fn run(args: &WhenArgs) -> Result<(), Failure> {
    let after = args.after.unwrap_or_else(now);
    let times = when::preview(&args.when, &args.timezone, after, usize::from(args.count))
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let times: Vec<String> =
        times.iter().map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, false)).collect();
    let after = after.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    if args.output.output == Format::Json {
        return print_json(&Preview { when: &args.when, timezone: &args.timezone, after, times });
    }
    if times.is_empty() {
        say(&format!("it does not fire after {after}"));
    }
    print(&times.iter().map(|time| format!("{time}\n")).collect::<String>())
}
