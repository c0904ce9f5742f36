//! Everything a request needs to be routed, frozen at one moment.
//!
//! A snapshot is never changed. Whoever handles a request holds one snapshot from the first byte
//! to the last, so a request never sees two versions; a change of weights is a new snapshot that
//! shares all its unchanged parts with the old one.

use std::sync::Arc;

use crate::domain::app::AppStatus;
use crate::domain::backend::{Backend, Der};
use crate::domain::caller::RequestFacts;
use crate::domain::decision::Decision;
use crate::domain::flag::Flag;
use crate::domain::group::GroupTable;
use crate::domain::identity::IdentitySource;
use crate::domain::ids::{BackendIndex, FlagIndex};
use crate::domain::matcher::address::AddressMatcher;
use crate::domain::prerequisite::Decisions;
use crate::domain::route::RouteTable;

/// What is asked of apps before anything is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Whether requests may bring keys of apps at all.
    pub reads_keys: bool,
    /// Whether only approved apps pass.
    pub require_approved: bool,
}

impl Admission {
    /// Whether an app of this status may pass where something is asked of it. One that may not gets no canary
    /// anywhere else either, and no backend hears of it.
    pub const fn lets_in(self, status: AppStatus) -> bool {
        match status {
            AppStatus::Approved => true,
            AppStatus::Pending => !self.require_approved,
            AppStatus::Suspended | AppStatus::Revoked => false,
        }
    }
}

/// Routes, flags, groups and backends as they stand at one moment.
#[derive(Clone, Debug, Default)]
pub struct RoutingSnapshot {
    /// The routes.
    pub routes: Arc<RouteTable>,
    /// The groups, in the file's order.
    pub groups: Arc<GroupTable>,
    /// The flags, in the file's order, with the weights that hold now.
    pub flags: Vec<Arc<Flag>>,
    /// The backends, in the file's order.
    pub backends: Arc<[Backend]>,
    /// The authorities that the system trusts; empty where no backend needs them.
    pub system_authorities: Arc<[Der]>,
    /// Where a caller's key comes from, first source first.
    pub identity: Arc<[IdentitySource]>,
    /// What is asked of apps.
    pub admission: Admission,
    /// Peers whose forwarding and identity headers are believed.
    pub trusted: Arc<AddressMatcher>,
}

impl RoutingSnapshot {
    /// One flag.
    pub fn flag(&self, flag: FlagIndex) -> &Flag {
        &self.flags[flag.0]
    }

    /// One backend.
    pub fn backend(&self, backend: BackendIndex) -> &Backend {
        &self.backends[backend.0]
    }

    /// The place of a flag, by name.
    pub fn flag_index(&self, name: &str) -> Option<FlagIndex> {
        self.flags
            .iter()
            .position(|flag| flag.name.as_str() == name)
            .map(FlagIndex)
    }

    /// Decides which variant of a flag serves a request.
    pub fn decide(&self, index: FlagIndex, facts: &RequestFacts<'_>) -> Decision {
        let flag = self.flag(index);
        if flag.requires.is_empty() {
            return flag.decide(facts, &self.groups);
        }
        self.decisions(*facts).of(index)
    }

    /// Takes several decisions about one request.
    pub fn decisions<'a>(&'a self, facts: RequestFacts<'a>) -> Decisions<'a> {
        Decisions::new(self, facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_let_in_by_its_status_and_by_whether_it_has_to_be_approved() {
        use AppStatus::{Approved, Pending, Revoked, Suspended};
        for (status, strict, lenient) in [
            (Pending, false, true),
            (Approved, true, true),
            (Suspended, false, false),
            (Revoked, false, false),
        ] {
            let lets_in = |require_approved| {
                let admission = Admission {
                    reads_keys: true,
                    require_approved,
                };
                admission.lets_in(status)
            };
            assert_eq!(
                (lets_in(true), lets_in(false)),
                (strict, lenient),
                "{status}"
            );
        }
    }
}
