//! Where operators come in, and who they are.

use std::net::SocketAddr;

use crate::domain::ids::TokenName;
use crate::domain::secret::Secret;

use crate::config::defaults;
use crate::config::document::{AdminDocument, RoleDocument, TokenDocument};
use crate::config::group::ReadFile;
use crate::config::listener::{Listener, overlap};
use crate::config::report::{Problem, Report};
use crate::config::secret::SecretSource;
use crate::config::tree::Place;
use crate::config::written::{Placed, Written};

/// The shortest token, in bytes: 16 random bytes cannot be guessed, and whatever is shorter was
/// not made by chance.
pub const TOKEN_BYTES_MIN: usize = 16;

/// The longest token, in bytes: far more than anybody draws, far less than a header may have.
const TOKEN_BYTES_MAX: usize = 1024;

/// The most tokens: each is compared with every request's.
const TOKENS_MAX: usize = 100;

/// Who changes things in the journal without being an operator.
const RESERVED: [&str; 4] = ["judge", "tripwire", "plan", "serin"];

/// Where operators come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address to listen on: none that a listener has; without tokens a loopback address.
    pub address: SocketAddr,
    /// Who is let in, names and secrets all different; empty lets everyone in who can reach the
    /// address.
    pub tokens: Vec<Token>,
}

/// Somebody who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Who it is, for the journal.
    pub name: TokenName,
    /// What they may do.
    pub role: Role,
    /// What they have to say.
    pub secret: Secret,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Pass on what callers say, and nothing else.
    Feedback,
    /// Look at everything.
    Viewer,
    /// Change it as well.
    Operator,
}

impl Role {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Feedback => "feedback",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

/// Understands `admin`.
pub(super) fn admin(
    section: Option<&Placed<AdminDocument>>,
    listeners: &[Listener],
    read_file: ReadFile<'_>,
    report: &Report,
) -> Admin {
    let reader = AdminReader {
        listeners,
        read_file,
        report,
    };
    reader.admin(section)
}

struct AdminReader<'a> {
    listeners: &'a [Listener],
    read_file: ReadFile<'a>,
    report: &'a Report,
}

impl AdminReader<'_> {
    fn admin(&self, section: Option<&Placed<AdminDocument>>) -> Admin {
        let written = section.and_then(|section| section.value.address.as_ref());
        let is_refused = section.is_some_and(|section| self.has_problem(section.place));
        let address = written.map_or(defaults::ADMIN_ADDRESS, |written| written.value);
        let place = written.map_or(Place::ROOT, |Written { place, .. }| *place);
        let tokens = section.and_then(|section| section.value.tokens.as_ref());
        if tokens.is_none() && !is_refused && !address.ip().to_canonical().is_loopback() {
            let problem = format!("`{address}` is not a loopback address, so it needs `tokens`");
            let hint = format!(
                "add `tokens: [{{ name: ci, role: operator, token_file: ci.token }}]`, \
                 or write `127.0.0.1:{}`",
                address.port()
            );
            self.report.add(place, Problem::new(problem).hint(hint));
        }
        let mut listeners = self.listeners.iter();
        let other = listeners.find(|other| overlap(other.address, address));
        if let (Some(other), false) = (other, is_refused) {
            let problem = format!(
                "the admin address `{address}` is in the way of listener `{}`",
                other.address
            );
            let hint = "give `admin.address` another port";
            self.report.add(place, Problem::new(problem).hint(hint));
        }
        let tokens = tokens.map(|tokens| self.tokens(tokens));
        Admin {
            address,
            tokens: tokens.unwrap_or_default(),
        }
    }

    fn has_problem(&self, place: Place) -> bool {
        self.report.has_problem_within(place)
    }

    fn tokens(&self, list: &Placed<Vec<Placed<TokenDocument>>>) -> Vec<Token> {
        if list.value.is_empty() && !self.has_problem(list.place) {
            let problem = Problem::new("there must be at least one token");
            let hint =
                "add `{ name: ci, role: operator, token_file: ci.token }`, or remove `tokens`";
            self.report.add(list.place, problem.hint(hint));
        }
        if list.value.len() > TOKENS_MAX {
            let problem = Problem::new(format!("there are more than {TOKENS_MAX} tokens"));
            let hint = "give one token to each program or team";
            self.report.add(list.place, problem.hint(hint));
        }
        let mut tokens: Vec<Token> = Vec::new();
        for Placed { place, value } in list.value.iter().take(TOKENS_MAX) {
            self.check_name(&value.name, &tokens);
            let Some((place, secret)) = self.secret(*place, value) else {
                continue;
            };
            if let Some(same) = tokens.iter().find(|other| other.secret == secret) {
                let problem = format!("is the same secret as that of token `{}`", same.name);
                let hint = format!("make another one: {MAKE_ONE}");
                let problem = Problem::new(problem).hint(hint);
                self.report.add(place, problem.without_value());
            }
            tokens.push(Token {
                name: value.name.value.clone(),
                role: match value.role {
                    RoleDocument::Feedback => Role::Feedback,
                    RoleDocument::Viewer => Role::Viewer,
                    RoleDocument::Operator => Role::Operator,
                },
                secret,
            });
        }
        tokens
    }

    fn check_name(&self, name: &Written<TokenName>, others: &[Token]) {
        let text = name.value.as_str();
        let problem = if RESERVED.contains(&text) {
            format!("`{text}` is who Serin itself is in the journal")
        } else if others.iter().any(|other| other.name == name.value) {
            format!("another token is named `{text}`")
        } else {
            return;
        };
        let problem = Problem::new(problem).hint("choose another name");
        self.report.add(name.place, problem);
    }

    /// The secret of a token and where it, or the name of its file, is written.
    fn secret(&self, place: Place, token: &TokenDocument) -> Option<(Place, Secret)> {
        let source = SecretSource {
            place,
            key: "token",
            text: token.token.as_ref(),
            file: token.token_file.as_ref(),
        };
        let written = token.token.as_ref().map(|text| text.place);
        let written = written.or_else(|| token.token_file.as_ref().map(|file| file.place));
        let place = written.unwrap_or(place);
        let secret = source.read(self.read_file, self.report)?;
        match unfit(secret.reveal()) {
            None => Some((place, secret)),
            Some(why) => {
                let hint = format!("make one: {MAKE_ONE}");
                let problem = Problem::new(why).hint(hint);
                self.report.add(place, problem.without_value());
                None
            }
        }
    }
}

/// How to make a token.
const MAKE_ONE: &str = "`openssl rand -hex 24`";

/// Why a text cannot be a token, without a word of it.
fn unfit(text: &str) -> Option<String> {
    if text.len() < TOKEN_BYTES_MIN {
        let length = text.len();
        Some(format!(
            "the token has {length} bytes, and one of less than {TOKEN_BYTES_MIN} can be guessed"
        ))
    } else if text.len() > TOKEN_BYTES_MAX {
        Some(format!("the token has more than {TOKEN_BYTES_MAX} bytes"))
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = "the token has a space or another character that no header can carry";
        Some(problem.to_owned())
    } else {
        None
    }
}
