//! Lists by page: as many as were asked for, however many calls that takes.

use super::{
    console::say,
    failure::Failure,
    output::{Format, OutputArgs},
};

/// The most that a server gives at once.
const LARGEST_PAGE: u32 = 1_000;

/// How much of a list.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct PageArgs {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "all")]
    limit: u32,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// All of a list.
pub const EVERYTHING: PageArgs = PageArgs { limit: 1, all: true };

/// Calls `fetch` with a page size and a page until there is enough. Answers also whether there would be more.
pub async fn collect<T>(
    args: PageArgs,
    mut fetch: impl AsyncFnMut(u32, String) -> Result<(Vec<T>, String), Failure>,
) -> Result<(Vec<T>, bool), Failure> {
    let wanted = if args.all { usize::MAX } else { args.limit as usize };
    let (mut items, mut page) = (Vec::new(), String::new());
    loop {
        let missing = u32::try_from(wanted - items.len()).unwrap_or(LARGEST_PAGE);
        let (mut next, next_page) = fetch(missing.min(LARGEST_PAGE), page).await?;
        items.append(&mut next);
        let more = !next_page.is_empty() || items.len() > wanted;
        if !more || items.len() >= wanted {
            items.truncate(wanted);
            return Ok((items, more));
        }
        page = next_page;
    }
}

/// Tells a person that the list goes on; JSON says it in its field `more`.
pub fn say_more(output: OutputArgs, more: bool) {
    if more && output.output == Format::Text {
        say("there are more: see --limit and --all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn collected(limit: u32, all: bool, total: u32) -> (usize, bool) {
        let fetch = async |size: u32, page: String| {
            let start: u32 = page.parse().unwrap_or(0);
            let end = total.min(start + size.min(10));
            Ok(((start..end).collect::<Vec<_>>(), if end < total { end.to_string() } else { String::new() }))
        };
        let (items, more) = collect(PageArgs { limit, all }, fetch).await.unwrap();
        assert!(items.iter().copied().eq(0..items.len() as u32));
        (items.len(), more)
    }

    #[tokio::test]
    async fn a_list_has_as_many_as_were_asked_for() {
        assert_eq!(collected(25, false, 100).await, (25, true));
        assert_eq!(collected(25, false, 25).await, (25, false));
        assert_eq!(collected(25, false, 7).await, (7, false));
        assert_eq!(collected(1, true, 35).await, (35, false));
        assert_eq!(collected(5, false, 0).await, (0, false));
    }
}
