//! `serin journal`: who did what, and why.

use std::collections::VecDeque;
use std::io::{Write, stdout};
use std::thread::sleep;
use std::time::Duration;

use clap::Args;

use crate::admin::wire::{JournalEvent, JournalPage};
use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::remote::{CallArguments, Remote};
use crate::cli::words::{journal_entry, moment};
use crate::domain::ids::{AppId, FlagName, GroupName};

/// The most lines that the API gives at a time.
const PAGE: usize = 1000;

/// How often it is looked for more.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Args)]
pub(crate) struct Journal {
    /// Only what concerns this flag.
    flag: Option<FlagName>,
    /// Only what concerns this group.
    #[arg(long, conflicts_with = "flag", value_name = "GROUP")]
    group: Option<GroupName>,
    /// Only what concerns this app.
    #[arg(long, conflicts_with_all = ["flag", "group"], value_name = "APP")]
    app: Option<AppId>,
    /// How many lines at the most, the newest of all.
    #[arg(short = 'n', long, default_value_t = 50, value_name = "LINES")]
    limit: usize,
    /// Only what is newer than this, such as `1h` or `2026-01-31T08:00:00Z`.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Go on, and print what comes.
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    call: CallArguments,
}

impl Journal {
    pub(crate) fn run(self) -> Done {
        self.tell().map(|()| Exit::Done)
    }

    fn tell(&self) -> anyhow::Result<()> {
        let remote = self.call.open()?;
        // Newest first, as the API gives them; printed the other way round, so that the last line
        // on the screen is the last thing that happened.
        let mut lines = VecDeque::new();
        self.read(&remote, self.limit, |line| {
            lines.push_front(line);
            true
        })?;
        print(&lines, &remote)?;
        if !self.follow {
            return Ok(());
        }
        let newest = match lines.back() {
            Some(line) => Some(line.sequence),
            None => {
                let page = self.page(&remote, 1, None)?;
                page.lines.first().map(|line| line.sequence)
            }
        };
        let mut last = newest.unwrap_or(0);
        loop {
            sleep(LOOK);
            let mut news = VecDeque::new();
            self.read(&remote, usize::MAX, |line| {
                let is_new = line.sequence > last;
                if is_new {
                    news.push_front(line);
                }
                is_new
            })?;
            last = news.back().map_or(last, |line| line.sequence);
            print(&news, &remote)?;
        }
    }

    /// Reads page by page, newest first, until there are enough or no more, or `take` has had
    /// enough.
    fn read(
        &self,
        remote: &Remote,
        mut wanted: usize,
        mut take: impl FnMut(JournalEvent) -> bool,
    ) -> anyhow::Result<()> {
        let mut before = None;
        while wanted > 0 {
            let page = self.page(remote, wanted.min(PAGE), before)?;
            wanted = wanted.saturating_sub(page.lines.len());
            if !page.lines.into_iter().all(&mut take) || page.next.is_none() {
                break;
            }
            before = page.next;
        }
        Ok(())
    }

    fn page(
        &self,
        remote: &Remote,
        limit: usize,
        before: Option<u64>,
    ) -> anyhow::Result<JournalPage> {
        let (limit, before) = (limit.to_string(), before.map(|before| before.to_string()));
        let optional = [
            ("flag", self.flag.as_ref().map(FlagName::as_str)),
            ("group", self.group.as_ref().map(GroupName::as_str)),
            ("app", self.app.as_ref().map(AppId::as_str)),
            ("since", self.since.as_deref()),
            ("before", before.as_deref()),
        ];
        let mut query = vec![("limit", limit.as_str())];
        query.extend(
            optional
                .iter()
                .filter_map(|(name, value)| Some((*name, (*value)?))),
        );
        Ok(remote.read(remote.get("/api/v1/journal", &query)?)?)
    }
}

fn print(lines: &VecDeque<JournalEvent>, remote: &Remote) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    for line in lines {
        if remote.is_json {
            writeln!(out, "{}", serde_json::to_string(line)?)?;
            continue;
        }
        let (when, told) = (moment(line.at_unix_ms), journal_entry(&line.entry));
        writeln!(out, "{when}  {}  {told}", line.subject)?;
    }
    Ok(())
}
