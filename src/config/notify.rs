//! Who is told of changes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::domain::ids::{FlagName, TargetName};
use crate::domain::notify::{NotifyFormat, NotifyTarget, WebhookUrl};
use crate::domain::rollout::Phase;

use crate::config::defaults::{NOTIFY_TARGETS_MAX, NOTIFY_TIMEOUT, NOTIFY_TIMEOUT_MAX};
use crate::config::document::{AnyNotifyDocument, FlagDocument, FormatDocument, NotifyDocument};
use crate::config::group::ReadFile;
use crate::config::names::Names;
use crate::config::report::{Problem, Report};
use crate::config::suggest;
use crate::config::text::{self, NonEmpty};
use crate::config::tree::Place;
use crate::config::written::{FromText, Named, Placed, ShortOr, Written};

/// Fields of a message that are ours to set, and those that frame it.
const OWN_HEADERS: [&str; 13] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-serin-notification-id",
];

/// Bytes of a host that a name made from it keeps: room is left for a number behind it.
const HOST_BYTES_KEPT: usize = 56;

/// What a target may depend on.
pub(super) struct NotifyReader<'a> {
    pub(super) flag_names: &'a Names<'a>,
    pub(super) flags: &'a Named<FlagName, FlagDocument>,
    pub(super) read_file: ReadFile<'a>,
    pub(super) report: &'a Report,
}

impl NotifyReader<'_> {
    /// Understands `notify`, in the file's order.
    pub(super) fn targets(
        &self,
        section: Option<&Placed<Vec<AnyNotifyDocument>>>,
    ) -> Vec<NotifyTarget> {
        let Some(section) = section else {
            return Vec::new();
        };
        if section.value.len() > NOTIFY_TARGETS_MAX {
            let problem = Problem::new(format!("more than {NOTIFY_TARGETS_MAX} targets"));
            let hint = "tell one, and let it tell the others";
            self.report.add(section.place, problem.hint(hint));
        }
        let documents: Vec<_> = section.value.iter().map(document).collect();
        let names = self.names(&documents);
        let targets = names.into_iter().zip(&documents);
        targets
            .map(|(name, document)| self.target(name, document))
            .collect()
    }

    /// The names of all targets. Those that are not written are made from the host, with a number
    /// from the second of a host on, past those that are.
    fn names(&self, documents: &[NotifyDocument]) -> Vec<TargetName> {
        let mut taken: Vec<TargetName> = Vec::new();
        for document in documents {
            let Some(name) = &document.name else {
                continue;
            };
            if taken.contains(&name.value) {
                let problem = Problem::new(format!("another target is named `{}`", name.value));
                self.report
                    .add(name.place, problem.hint("choose another name"));
            }
            taken.push(name.value.clone());
        }
        let mut name = |document: &NotifyDocument| {
            document.name.as_ref().map_or_else(
                || {
                    let name = unused_name(document.webhook.value.host(), &taken);
                    taken.push(name.clone());
                    name
                },
                |name| name.value.clone(),
            )
        };
        documents.iter().map(&mut name).collect()
    }

    fn target(&self, name: TargetName, document: &NotifyDocument) -> NotifyTarget {
        let format = document.format.unwrap_or(FormatDocument::Json);
        NotifyTarget {
            name,
            url: document.webhook.value.clone(),
            format: match format {
                FormatDocument::Json => NotifyFormat::Json,
                FormatDocument::Slack => NotifyFormat::Slack,
                FormatDocument::Teams => NotifyFormat::Teams,
            },
            phases: self.phases(document),
            flags: self.flags(document),
            headers: headers(&document.headers),
            timeout: self.timeout(document),
            authorities: self.authorities(document),
            hook: None,
        }
    }

    fn phases(&self, document: &NotifyDocument) -> Vec<&'static str> {
        let Some(section) = &document.on else {
            return Vec::new();
        };
        self.refuse_empty(section, "to be told of every change");
        let mut phases = Vec::new();
        for word in &section.value {
            if phases.contains(&word.value.0) {
                let problem = Problem::new(format!("`{}` is written twice", word.value.0));
                self.report
                    .add(word.place, problem.hint("remove one of the two"));
            }
            phases.push(word.value.0);
        }
        phases
    }

    fn flags(&self, document: &NotifyDocument) -> Vec<FlagName> {
        let Some(section) = &document.flags else {
            return Vec::new();
        };
        self.refuse_empty(section, "to be told of all flags");
        let found = self.flag_names.resolve_each(&section.value, self.report);
        let name = |index: usize| self.flags.0[index].name.value.clone();
        found.into_iter().map(name).collect()
    }

    fn refuse_empty<T>(&self, section: &Placed<Vec<T>>, purpose: &str) {
        if section.value.is_empty() && !self.report.has_problem_within(section.place) {
            let problem = Problem::new("is an empty list, by which nobody would ever be told");
            let hint = format!("remove it {purpose}");
            self.report.add(section.place, problem.hint(hint));
        }
    }

    fn timeout(&self, document: &NotifyDocument) -> Duration {
        let Some(written) = &document.timeout else {
            return NOTIFY_TIMEOUT;
        };
        let timeout = written.value.0;
        if timeout > NOTIFY_TIMEOUT_MAX {
            let longest = humantime::format_duration(NOTIFY_TIMEOUT_MAX);
            let given = humantime::format_duration(timeout);
            let problem = Problem::new(format!("`{given}` is longer than `{longest}`"));
            let hint = "a message that fails is sent again, so there is no need to wait for long";
            self.report.add(written.place, problem.hint(hint));
        }
        timeout
    }

    fn authorities(&self, document: &NotifyDocument) -> Vec<Arc<[u8]>> {
        let Some(Written { place, value }) = &document.ca else {
            return Vec::new();
        };
        if !document.webhook.value.is_https() {
            let problem = Problem::new("`ca` beside a URL of http, where no certificate is shown");
            let hint = "remove it, or write `https://`";
            self.report.add(*place, problem.hint(hint));
        }
        self.certificates(*place, value)
    }

    fn certificates(&self, place: Place, NonEmpty(name): &NonEmpty) -> Vec<Arc<[u8]>> {
        let refuse = |problem: String, hint: &str| {
            self.report.add(place, Problem::new(problem).hint(hint));
            Vec::new()
        };
        let text = match (self.read_file)(Path::new(name)) {
            Ok(text) => text,
            Err(error) => {
                let hint = "write a path that is absolute or starts at this file";
                return refuse(format!("cannot read `{name}`: {error}"), hint);
            }
        };
        let hint = "give a PEM file that begins with `-----BEGIN CERTIFICATE-----`";
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        match read {
            // The library tells broken parts as lists of numbers.
            Err(_) => refuse(format!("`{name}` is not PEM, or not all of it"), hint),
            Ok(none) if none.is_empty() => refuse(format!("`{name}` has no certificate"), hint),
            Ok(found) => found.iter().map(|der| Arc::from(der.as_ref())).collect(),
        }
    }
}

/// The long form of either.
fn document(written: &AnyNotifyDocument) -> NotifyDocument {
    match written {
        ShortOr::Long(document) => document.clone(),
        ShortOr::Short(webhook) => NotifyDocument {
            webhook: webhook.clone(),
            name: None,
            format: None,
            on: None,
            flags: None,
            headers: Named::default(),
            timeout: None,
            ca: None,
        },
    }
}

/// A name made from a host or another text that no other target has.
pub(super) fn unused_name(host: &str, taken: &[TargetName]) -> TargetName {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let host = host.replace(|c| !is_plain(c), "-");
    let host = host.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    // What is left is plain ASCII, so any byte is the end of a character.
    let host = &host[..host.len().min(HOST_BYTES_KEPT)];
    let host = if host.is_empty() { "webhook" } else { host };
    let numbered = (1_u32..).map(|number| match number {
        1 => host.to_owned(),
        _ => format!("{host}-{number}"),
    });
    let mut names = numbered.filter_map(|name| name.parse::<TargetName>().ok());
    let unused = names.find(|name| !taken.contains(name));
    #[allow(
        clippy::expect_used,
        reason = "of four thousand million names fewer are taken than there are targets"
    )]
    unused.expect("a name is left")
}

/// Header fields to be sent.
pub(super) fn headers(written: &Named<MessageHeader, Written<SecretValue>>) -> HeaderMap {
    let entries = written.0.iter();
    entries
        .filter_map(|entry| {
            let value = entry.value.as_ref()?.value.0.clone();
            Some((entry.name.value.0.clone(), value))
        })
        .collect()
}

/// A phase, as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PhaseWord(pub(super) &'static str);

impl FromText for PhaseWord {
    const EXPECTED: &'static str = "a phase such as `rolled_back`";

    fn from_text(text: &str) -> Result<Self, String> {
        if let Some(word) = Phase::WORDS.iter().find(|word| **word == text) {
            return Ok(Self(word));
        }
        let hint = suggest::hint(text, Phase::WORDS).unwrap_or_default();
        Err(format!("no phase is called `{text}`; {hint}"))
    }
}

/// A header that can be sent with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageHeader(pub(super) HeaderName);

impl FromText for MessageHeader {
    const EXPECTED: &'static str = HeaderName::EXPECTED;
    const INSTEAD_OF_NUMBER: &'static str = HeaderName::INSTEAD_OF_NUMBER;

    fn from_text(text: &str) -> Result<Self, String> {
        let name = text.parse::<HeaderName>().map_err(|_| {
            format!("`{text}` is not the name of a header; write it without `:` and spaces")
        })?;
        if OWN_HEADERS.contains(&name.as_str()) {
            return Err(format!("`{text}` is set with each message; remove it"));
        }
        Ok(Self(name))
    }
}

/// The value of a header, which nobody else may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SecretValue(pub(super) HeaderValue);

impl FromText for SecretValue {
    const EXPECTED: &'static str = "text";
    const INSTEAD_OF_NUMBER: &'static str = "put it in quotes";
    const IS_SECRET: bool = true;

    fn from_text(text: &str) -> Result<Self, String> {
        let mut value = HeaderValue::from_str(text).map_err(|_| {
            "has characters that a header cannot carry; write one line of ASCII".to_owned()
        })?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl FromText for WebhookUrl {
    // Nothing else is told of a URL that does not fit, so all that it must be stands here.
    const EXPECTED: &'static str = "a URL such as `https://chat.example.com/hook`, of `http` or `https` and without \
                                    user and password, which go into `headers`";
    const IS_SECRET: bool = true;

    /// No message quotes more than scheme, host and port.
    fn from_text(text: &str) -> Result<Self, String> {
        let is_scheme = |scheme: &str| scheme.chars().all(|c| c.is_ascii_alphanumeric());
        let split = text.split_once("://");
        let rest = match split.filter(|(scheme, _)| is_scheme(scheme)) {
            Some((scheme, rest)) if ["http", "https"].contains(&&*scheme.to_ascii_lowercase()) => {
                rest
            }
            Some((scheme, _)) => {
                return Err(format!(
                    "unknown scheme `{scheme}`; write `https://…` or `http://…`"
                ));
            }
            None => return Err("the URL has no scheme; write `https://` before it".to_owned()),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            let hint = "send credentials in `headers`, such as `authorization`";
            return Err(format!(
                "a URL with user and password is not supported; {hint}"
            ));
        }
        text::endpoint(authority, 80).map_err(|problem| format!("the URL {problem}"))?;
        let url = text.parse::<Uri>().ok();
        url.and_then(|url| Self::try_from(url).ok()).ok_or_else(|| {
            "the URL has characters that do not belong there; write others as `%20`".to_owned()
        })
    }
}
