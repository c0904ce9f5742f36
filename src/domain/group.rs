//! Named sets of callers.
//!
//! A caller may be in many groups. Which one decides is the first, in the file's order, of those
//! that a flag names; that order is the same for every flag, so one table serves them all.

use http::HeaderName;

use crate::domain::caller::RequestFacts;
use crate::domain::ids::{GroupIndex, GroupName};
use crate::domain::matcher::segment::SegmentMatcher;
use crate::domain::matcher::{Matcher, Matches};

/// Who belongs to a group.
#[derive(Clone, Debug)]
pub enum Membership {
    /// Whoever one matcher fits.
    Matcher(Matcher),
    /// Whoever is in another group.
    Group(GroupIndex),
    /// Whoever fits at least one of these.
    Any(Vec<Self>),
    /// Whoever fits all of these.
    All(Vec<Self>),
    /// Whoever does not fit.
    Not(Box<Self>),
}

/// A named set of callers.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// Who belongs to it, besides those assigned at run time.
    pub membership: Membership,
}

/// Why groups do not make a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("group `{}` refers to itself: {}", .path[0], .path.iter().map(GroupName::as_str).collect::<Vec<_>>().join(" -> "))]
pub struct CyclicGroups {
    /// The way round, from a group back to itself.
    pub path: Vec<GroupName>,
}

/// All groups, in the file's order.
#[derive(Clone, Debug, Default)]
pub struct GroupTable {
    groups: Vec<Group>,
    /// Headers that say what callers are like, by which segments are found.
    feature_headers: Vec<HeaderName>,
    /// Whether callers are looked up by pseudonym somewhere.
    needs_pseudonyms: bool,
}

impl GroupTable {
    /// Takes groups in the file's order; every [`Membership::Group`] is a place in that list.
    ///
    /// # Errors
    /// Where groups refer to each other in a circle, with the way round.
    pub fn new(groups: Vec<Group>) -> Result<Self, CyclicGroups> {
        let mut table = Self {
            groups,
            feature_headers: Vec::new(),
            needs_pseudonyms: false,
        };
        let headers = table.segments().flat_map(SegmentMatcher::headers).cloned();
        table.feature_headers = headers.collect();
        let is_needed = table.segments().any(SegmentMatcher::needs_pseudonyms);
        table.needs_pseudonyms = is_needed;
        let mut cleared = vec![false; table.groups.len()];
        for start in 0..table.groups.len() {
            table.walk(GroupIndex(start), &mut Vec::new(), &mut cleared)?;
        }
        Ok(table)
    }

    /// Follows references from one group; `trail` holds the groups on the way here, `cleared`
    /// marks those known to lead into no circle.
    fn walk(
        &self,
        at: GroupIndex,
        trail: &mut Vec<GroupIndex>,
        cleared: &mut [bool],
    ) -> Result<(), CyclicGroups> {
        if cleared[at.0] {
            return Ok(());
        }
        if let Some(first) = trail.iter().position(|seen| *seen == at) {
            let round = trail[first..].iter().chain([&at]);
            return Err(CyclicGroups {
                path: round.map(|g| self.name(*g).clone()).collect(),
            });
        }
        trail.push(at);
        let mut references = Vec::new();
        collect_references(&self.groups[at.0].membership, &mut references);
        for reference in references {
            self.walk(reference, trail, cleared)?;
        }
        trail.pop();
        cleared[at.0] = true;
        Ok(())
    }

    /// The name of a group.
    pub fn name(&self, group: GroupIndex) -> &GroupName {
        &self.groups[group.0].name
    }

    /// The place of a group, by name.
    pub fn index_of(&self, name: &str) -> Option<GroupIndex> {
        self.groups
            .iter()
            .position(|group| group.name.as_str() == name)
            .map(GroupIndex)
    }

    /// All groups, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = (GroupIndex, &Group)> {
        self.groups
            .iter()
            .enumerate()
            .map(|(place, group)| (GroupIndex(place), group))
    }

    /// The matchers of learned segments, in the file's order.
    pub fn segments(&self) -> impl Iterator<Item = &SegmentMatcher> {
        let mut found = Vec::new();
        for group in &self.groups {
            collect_segments(&group.membership, &mut found);
        }
        found.into_iter()
    }

    /// Headers that say what callers are like, so that only trusted peers may send them.
    pub fn feature_headers(&self) -> &[HeaderName] {
        &self.feature_headers
    }

    /// Whether callers are looked up by pseudonym somewhere.
    pub const fn needs_pseudonyms(&self) -> bool {
        self.needs_pseudonyms
    }

    /// Whether the sender of a request belongs to a group.
    pub fn contains(&self, group: GroupIndex, facts: &RequestFacts<'_>) -> bool {
        facts.assigned.contains(&group) || self.fits(&self.groups[group.0].membership, facts)
    }

    fn fits(&self, membership: &Membership, facts: &RequestFacts<'_>) -> bool {
        match membership {
            Membership::Matcher(matcher) => matcher.matches(facts),
            Membership::Group(group) => self.contains(*group, facts),
            Membership::Any(members) => members.iter().any(|member| self.fits(member, facts)),
            Membership::All(members) => members.iter().all(|member| self.fits(member, facts)),
            Membership::Not(member) => !self.fits(member, facts),
        }
    }
}

fn collect_references(membership: &Membership, found: &mut Vec<GroupIndex>) {
    match membership {
        Membership::Matcher(_) => {}
        Membership::Group(group) => found.push(*group),
        Membership::Any(members) | Membership::All(members) => {
            members
                .iter()
                .for_each(|member| collect_references(member, found));
        }
        Membership::Not(member) => collect_references(member, found),
    }
}

fn collect_segments<'m>(membership: &'m Membership, found: &mut Vec<&'m SegmentMatcher>) {
    match membership {
        Membership::Matcher(Matcher::Segment(matcher)) => found.push(matcher),
        Membership::Matcher(_) | Membership::Group(_) => {}
        Membership::Any(members) | Membership::All(members) => {
            members
                .iter()
                .for_each(|member| collect_segments(member, found));
        }
        Membership::Not(member) => collect_segments(member, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::matcher::callers::CallersMatcher;
    use crate::domain::testing::{FactsBuilder, name};

    fn listed(keys: &[&str]) -> Membership {
        Membership::Matcher(Matcher::Callers(
            CallersMatcher::new(keys.iter().copied()).unwrap(),
        ))
    }

    fn table(groups: Vec<(&str, Membership)>) -> Result<GroupTable, CyclicGroups> {
        GroupTable::new(
            groups
                .into_iter()
                .map(|(group, membership)| Group {
                    name: name(group),
                    membership,
                })
                .collect(),
        )
    }

    #[test]
    fn any_all_not_and_references_combine() {
        let groups = table(vec![
            ("ann-or-bob", listed(&["ann", "bob"])),
            (
                "bob-or-cid",
                Membership::Any(vec![listed(&["bob"]), listed(&["cid"])]),
            ),
            (
                "only-ann",
                Membership::All(vec![
                    Membership::Group(GroupIndex(0)),
                    Membership::Not(Box::new(Membership::Group(GroupIndex(1)))),
                ]),
            ),
        ])
        .unwrap();
        let members = |key: &str| {
            let request = FactsBuilder::caller(key);
            groups
                .iter()
                .filter(|(place, _)| groups.contains(*place, &request.facts()))
                .map(|(_, group)| group.name.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(members("ann"), ["ann-or-bob", "only-ann"]);
        assert_eq!(members("bob"), ["ann-or-bob", "bob-or-cid"]);
        assert_eq!(members("cid"), ["bob-or-cid"]);
        assert!(members("dan").is_empty());
    }

    #[test]
    fn an_assigned_caller_is_a_member_wherever_the_group_is_asked_for() {
        let groups = table(vec![
            ("vip", listed(&[])),
            (
                "not-vip",
                Membership::Not(Box::new(Membership::Group(GroupIndex(0)))),
            ),
        ])
        .unwrap();
        let assigned = [GroupIndex(0)];
        let request = FactsBuilder::caller("ann");
        let facts = RequestFacts {
            assigned: &assigned,
            ..request.facts()
        };
        assert!(groups.contains(GroupIndex(0), &facts));
        assert!(!groups.contains(GroupIndex(1), &facts));
    }

    #[test]
    fn a_circle_is_refused_with_the_way_round() {
        let error = table(vec![
            ("a", Membership::Group(GroupIndex(1))),
            (
                "b",
                Membership::Any(vec![listed(&[]), Membership::Group(GroupIndex(2))]),
            ),
            (
                "c",
                Membership::Not(Box::new(Membership::Group(GroupIndex(1)))),
            ),
        ])
        .unwrap_err();
        assert_eq!(error.to_string(), "group `b` refers to itself: b -> c -> b");
    }
}
