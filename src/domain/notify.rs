//! Who is told of changes: where to, in which shape, and of what.
//!
//! A description only; delivery is somebody else's. URLs and header fields of webhooks are
//! secrets (whoever has one can write to the chat), so neither is ever shown: of a URL, scheme and
//! host are, and header values are marked as sensitive, which `http` does not show either.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderMap, Uri};

use crate::domain::ids::{FlagName, TargetName};
use crate::domain::rollout::Notice;

/// The phase of which whoever is told is also told of groups that are taken back alone.
const ROLLED_BACK: &str = "rolled_back";

/// Somebody who is told of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyTarget {
    /// Its name; no two targets have the same. Messages that wait are kept under it.
    pub name: TargetName,
    /// Where messages go.
    pub url: WebhookUrl,
    /// Their shape.
    pub format: NotifyFormat,
    /// The phases it is told of, of [`Phase::WORDS`](crate::domain::rollout::Phase::WORDS); empty for every change of phase and stage.
    pub phases: Vec<&'static str>,
    /// The flags it is told of; empty for all.
    pub flags: Vec<FlagName>,
    /// Sent with each message; values are marked as sensitive.
    pub headers: HeaderMap,
    /// How long an exchange may take as a whole.
    pub timeout: Duration,
    /// Certificates (DER) of authorities that are believed beside the system's.
    pub authorities: Vec<Arc<[u8]>>,
    /// What it is told of, if it is a hook of a rollout, instead of changes of phase.
    pub hook: Option<HookTold>,
}

impl NotifyTarget {
    /// Whether it is to be told of this.
    pub fn wants(&self, notice: &Notice) -> bool {
        if let Some(hook) = &self.hook {
            return hook.on.is_of(notice) && self.flags.contains(&notice.flag);
        }
        let has = |phase: &str| self.phases.contains(&phase);
        let is_group_back = notice.rolled_back_group.is_some() && has(ROLLED_BACK);
        let is_phase = self.phases.is_empty() || has(&notice.phase) || is_group_back;
        let is_flag = self.flags.is_empty() || self.flags.contains(&notice.flag);
        is_phase && is_flag
    }
}

/// A hook of a rollout that is told of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookTold {
    /// What the configuration calls it.
    pub name: TargetName,
    /// Of what it is told.
    pub on: Occasion,
    /// Passed on in the body.
    pub metadata: BTreeMap<String, String>,
}

/// What a hook is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// A stage has passed.
    AfterStage,
    /// Canary was taken back.
    Rollback,
    /// The rollout has succeeded.
    Success,
}

impl Occasion {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AfterStage => "after_stage",
            Self::Rollback => "rollback",
            Self::Success => "success",
        }
    }

    fn is_of(self, notice: &Notice) -> bool {
        match self {
            Self::AfterStage => notice.passed.is_some(),
            Self::Rollback => notice.phase == ROLLED_BACK || notice.rolled_back_group.is_some(),
            Self::Success => notice.phase == "succeeded",
        }
    }
}

/// The shape of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NotifyFormat {
    /// All that is known, for programs.
    #[default]
    Json,
    /// What Slack's incoming webhooks show.
    Slack,
    /// What a webhook of Microsoft Teams (Workflows) shows.
    Teams,
}

/// Where a webhook is: an absolute URL of `http` or `https`. It is a secret as a whole.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WebhookUrl(Uri);

/// Why a URL is none of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a webhook is at an absolute URL of http or https, without user and password")]
pub struct InvalidWebhookUrl;

impl WebhookUrl {
    /// The whole URL, to be sent to and not to be shown.
    pub const fn secret(&self) -> &Uri {
        &self.0
    }

    /// The host, IPv6 addresses in brackets.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }
}

impl TryFrom<Uri> for WebhookUrl {
    type Error = InvalidWebhookUrl;

    fn try_from(url: Uri) -> Result<Self, InvalidWebhookUrl> {
        let is_scheme = [Scheme::HTTP, Scheme::HTTPS]
            .iter()
            .any(|scheme| url.scheme() == Some(scheme));
        let is_plain = url
            .authority()
            .is_some_and(|authority| !authority.as_str().contains('@'));
        if is_scheme && is_plain && url.host().is_some_and(|host| !host.is_empty()) {
            Ok(Self(url))
        } else {
            Err(InvalidWebhookUrl)
        }
    }
}

/// Scheme, host and port: what may be shown.
impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}", self.host())?;
        match self.0.port_u16() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}/…")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::domain::rollout::StageWeights;

    fn url(text: &str) -> Result<WebhookUrl, InvalidWebhookUrl> {
        text.parse::<Uri>().unwrap().try_into()
    }

    fn target() -> NotifyTarget {
        let mut token = HeaderValue::from_static("Bearer t0p");
        token.set_sensitive(true);
        NotifyTarget {
            name: "chat".parse().unwrap(),
            url: url("https://hooks.example.com:8443/services/s3cret?key=s3cret").unwrap(),
            format: NotifyFormat::Slack,
            phases: Vec::new(),
            flags: Vec::new(),
            headers: [(http::header::AUTHORIZATION, token)].into_iter().collect(),
            timeout: Duration::from_secs(5),
            authorities: Vec::new(),
            hook: None,
        }
    }

    fn notice(flag: &str, phase: &str) -> Notice {
        Notice {
            flag: flag.parse().unwrap(),
            revision: "2".to_owned(),
            phase: phase.to_owned(),
            stage: 1,
            stages: 2,
            who: "judge".to_owned(),
            what: "stage 1 of 2 begins".to_owned(),
            why: "all checks pass".to_owned(),
            findings: Vec::new(),
            weights: StageWeights::default(),
            at_unix_ms: 0,
            passed: None,
            rolled_back_group: None,
        }
    }

    #[test]
    fn a_target_wants_all_unless_it_says_what() {
        let all = target();
        assert!(all.wants(&notice("orders", "progressing")));
        let some = NotifyTarget {
            phases: vec!["rolled_back"],
            flags: vec!["orders".parse().unwrap()],
            ..all
        };
        assert!(some.wants(&notice("orders", "rolled_back")));
        assert!(!some.wants(&notice("orders", "progressing")));
        let group_back = Notice {
            rolled_back_group: Some("beta".parse().unwrap()),
            ..notice("orders", "progressing")
        };
        assert!(some.wants(&group_back));
        assert!(!some.wants(&notice("search", "rolled_back")));
    }

    #[test]
    fn a_hook_hears_of_its_flag_and_its_occasion_only() {
        let hook = |on| NotifyTarget {
            flags: vec!["orders".parse().unwrap()],
            hook: Some(HookTold {
                name: "ci".parse().unwrap(),
                on,
                metadata: BTreeMap::new(),
            }),
            ..target()
        };
        let passed = Notice {
            passed: Some(1),
            ..notice("orders", "progressing")
        };
        let begun = notice("orders", "progressing");
        let back = notice("orders", "rolled_back");
        let succeeded = notice("orders", "succeeded");
        let group_back = Notice {
            rolled_back_group: Some("beta".parse().unwrap()),
            ..notice("orders", "progressing")
        };
        for (on, heard) in [
            (Occasion::AfterStage, [true, false, false, false]),
            (Occasion::Rollback, [false, false, true, false]),
            (Occasion::Success, [false, false, false, true]),
        ] {
            let hook = hook(on);
            let found = [&passed, &begun, &back, &succeeded].map(|notice| hook.wants(notice));
            assert_eq!(found, heard, "{on:?}");
            let is_told = hook.wants(&group_back);
            assert_eq!(is_told, on == Occasion::Rollback, "{on:?}");
            assert!(!hook.wants(&notice("search", "rolled_back")));
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let target = target();
        let shown = format!("{target:?} {}", target.url);
        assert!(
            !shown.contains("s3cret") && !shown.contains("t0p"),
            "{shown}"
        );
        assert!(shown.contains("https://hooks.example.com:8443"), "{shown}");
    }

    #[test]
    fn a_webhook_is_absolute_and_without_credentials() {
        assert!(url("http://[::1]:80/x").is_ok());
        for bad in ["/hook", "ftp://a/b", "http://u:p@a/", "chat:80"] {
            assert_eq!(url(bad), Err(InvalidWebhookUrl), "{bad}");
        }
    }
}
