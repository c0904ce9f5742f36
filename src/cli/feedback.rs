//! `serin feedback`: what callers say of what they were shown.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::admin::wire::{FeedbackPage, FlagRatings, RatingReceipt};
use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::remote::{CallArguments, Remote};
use crate::cli::words::moment;
use crate::control::ratings::RatingsStatus;
use crate::domain::ids::FlagName;

#[derive(Subcommand)]
pub(crate) enum Feedback {
    /// Say how callers rate both arms, and list what they say, the newest first.
    List(List),
    /// Pass on what a caller says of the variant that it was shown.
    Post(Post),
}

#[derive(Args)]
pub(crate) struct List {
    /// Only what is said of this flag.
    flag: Option<FlagName>,
    /// How many comments at the most.
    #[arg(short = 'n', long, default_value_t = 50, value_name = "COMMENTS",
        value_parser = clap::value_parser!(u64).range(1..=1_000))]
    limit: u64,
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Post {
    /// The flag.
    flag: FlagName,
    /// The caller's key.
    #[arg(long, value_name = "KEY")]
    caller: String,
    /// From 1, bad, to 5, good.
    #[arg(long, value_name = "1-5", value_parser = clap::value_parser!(u8).range(1..=5))]
    rating: u8,
    /// What there is to say besides.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    #[command(flatten)]
    call: CallArguments,
}

impl Feedback {
    pub(crate) fn run(self) -> Done {
        match self {
            Self::List(list) => list.run(),
            Self::Post(post) => post.run(),
        }
    }
}

impl List {
    fn run(self) -> Done {
        let remote = self.call.open()?;
        let limit = self.limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(self.flag.as_ref().map(|flag| ("flag", flag.as_str())));
        let answer = remote.get("/api/v1/feedback", &query)?;
        if let Some(answer) = remote.unless_json(answer) {
            print(&remote.read(answer)?, self.flag.as_ref());
        }
        Ok(Exit::Done)
    }
}

fn print(page: &FeedbackPage, flag: Option<&FlagName>) {
    match flag {
        _ if !page.ratings.is_empty() => {}
        Some(flag) => println!("flag `{flag}` has taken no ratings"),
        None => println!("no flag has taken ratings"),
    }
    for FlagRatings {
        flag,
        revision,
        arms,
    } in &page.ratings
    {
        println!(
            "{flag} {revision}: canary {}, stable {}",
            rated(&arms.0.canary),
            rated(&arms.0.stable)
        );
    }
    for said in &page.comments {
        let comment = &said.comment;
        // A comment has ends of lines; here each is one line.
        let text = comment
            .text
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let rating = u8::from(comment.rating);
        let (when, flag) = (moment(comment.at_unix_ms), &said.flag);
        let (variant, caller) = (comment.variant, &comment.caller);
        println!(
            "{when}  {flag} {} {variant}  {rating}/5  {caller}  {text}",
            comment.revision
        );
    }
}

/// How callers rate an arm.
pub(crate) fn rated(ratings: &RatingsStatus) -> String {
    match ratings.mean {
        Some(mean) => format!("{mean:.2} by {}", ratings.raters),
        None => "not rated".to_owned(),
    }
}

impl Post {
    fn run(self) -> Done {
        let said = json!({
            "flag": self.flag,
            "caller": self.caller,
            "rating": self.rating,
            "comment": self.comment,
        });
        let remote: Remote = self.call.open()?;
        let answer = remote.command(Method::POST, "/api/v1/feedback", &said)?;
        if let Some(answer) = remote.unless_json(answer) {
            let receipt: RatingReceipt = remote.read(answer)?;
            let result = receipt.result.unwrap_or_default();
            let variant = receipt.variant.unwrap_or_default();
            println!("{result} for {variant} of {}", receipt.flag);
        }
        Ok(Exit::Done)
    }
}
