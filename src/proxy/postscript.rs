//! What we say of a request ourselves, behind what its client says.
//!
//! Fields of ours stand beside the client's, not among them: hardly any request brings one of them, and to enter eight
//! fields in a map costs more than to write them.

use http::{HeaderMap, HeaderName, HeaderValue};

/// How many fields there are, mostly.
const FIELDS: usize = 10;

/// A field that we say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    Forwarded,
    Via,
    Traceparent,
    /// What belongs to the place in a trace; only ever taken out.
    Tracestate,
    RequestId,
    /// What was decided.
    SerinFlags,
    /// Which app sends it.
    SerinApp,
}

impl Own {
    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::XForwardedHost => "x-forwarded-host",
            Self::XForwardedProto => "x-forwarded-proto",
            Self::Forwarded => "forwarded",
            Self::Via => "via",
            Self::Traceparent => "traceparent",
            Self::Tracestate => "tracestate",
            Self::RequestId => "x-request-id",
            Self::SerinFlags => "serin-flags",
            Self::SerinApp => "serin-app",
        }
    }

    /// The one that is called so. None of those that nobody can have brought, for they are taken out of every head.
    fn brought_as(name: &str) -> Option<Self> {
        Some(match name {
            "x-forwarded-for" => Self::XForwardedFor,
            "x-forwarded-host" => Self::XForwardedHost,
            "x-forwarded-proto" => Self::XForwardedProto,
            "forwarded" => Self::Forwarded,
            "via" => Self::Via,
            "traceparent" => Self::Traceparent,
            "tracestate" => Self::Tracestate,
            "x-request-id" => Self::RequestId,
            _ => return None,
        })
    }

    /// A bit of its own.
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Fields to be written behind a request's own, of which none is called so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Postscript(Vec<(&'static str, HeaderValue)>);

impl Postscript {
    /// Without a field.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    /// Says something in the place of what was said so before.
    pub(crate) fn set(&mut self, own: Own, value: HeaderValue) {
        let known = self.0.iter_mut().find(|(name, _)| *name == own.as_str());
        match known {
            Some((_, known)) => *known = value,
            None => self.0.push((own.as_str(), value)),
        }
    }

    /// What is said so.
    fn get(&self, own: Own) -> Option<&HeaderValue> {
        let known = self.0.iter().find(|(name, _)| *name == own.as_str());
        known.map(|(_, value)| value)
    }

    /// All of it, by name and value.
    pub(crate) fn fields(&self) -> &[(&'static str, HeaderValue)] {
        &self.0
    }

    /// Puts it among the other fields, for whoever writes no others.
    pub(crate) fn put(self, fields: &mut HeaderMap) {
        for (name, value) in self.0 {
            fields.insert(HeaderName::from_static(name), value);
        }
    }
}

/// A request's head on its way to be the one that its backend is to see.
pub(crate) struct Draft<'a> {
    fields: &'a mut HeaderMap,
    /// Those of ours that were brought, a bit for each.
    brought: u16,
    postscript: Postscript,
}

impl<'a> Draft<'a> {
    /// Nothing is said yet.
    pub(crate) fn of(fields: &'a mut HeaderMap) -> Self {
        let brought = fields
            .keys()
            .filter_map(|name| Own::brought_as(name.as_str()));
        Self {
            brought: brought.fold(0, |brought, own| brought | own.bit()),
            fields,
            postscript: Postscript(Vec::with_capacity(FIELDS)),
        }
    }

    /// The client's fields.
    pub(crate) const fn fields(&mut self) -> &mut HeaderMap {
        self.fields
    }

    /// Whether the client has brought one.
    pub(crate) const fn brings(&self, own: Own) -> bool {
        self.brought & own.bit() != 0
    }

    /// What the backend is told so far.
    pub(crate) fn get(&self, own: Own) -> Option<&HeaderValue> {
        match self.brings(own) {
            true => self.fields.get(own.as_str()),
            false => self.postscript.get(own),
        }
    }

    /// Takes out what was brought.
    pub(crate) fn remove(&mut self, own: Own) {
        if self.brings(own) {
            self.fields.remove(own.as_str());
            self.brought &= !own.bit();
        }
    }

    /// Says something in the place of what was brought.
    pub(crate) fn set(&mut self, own: Own, value: HeaderValue) {
        self.remove(own);
        self.postscript.0.push((own.as_str(), value));
    }

    /// Says something unless something was brought.
    pub(crate) fn set_default(&mut self, own: Own, value: impl FnOnce() -> HeaderValue) {
        if !self.brings(own) {
            self.postscript.0.push((own.as_str(), value()));
        }
    }

    /// What is to be written behind the client's fields.
    pub(crate) fn finish(self) -> Postscript {
        self.postscript
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::headers::tests::map;

    #[test]
    fn what_is_said_stands_in_one_place() {
        let mut fields = map(&[("via", "1.1 a"), ("via", "1.1 b"), ("x-request-id", "7")]);
        let mut draft = Draft::of(&mut fields);
        draft.set(Own::Via, HeaderValue::from_static("1.1 serin"));
        draft.set_default(Own::RequestId, || HeaderValue::from_static("8"));
        draft.set_default(Own::Forwarded, || HeaderValue::from_static("for=a"));
        let of = |draft: &Draft<'_>, own| draft.get(own).cloned();
        assert_eq!(of(&draft, Own::Via).unwrap(), "1.1 serin");
        assert_eq!(of(&draft, Own::RequestId).unwrap(), "7");
        assert_eq!(of(&draft, Own::Traceparent), None);
        let mut postscript = draft.finish();
        assert_eq!(fields, map(&[("x-request-id", "7")]));
        let flags = ["a=canary", "a=stable"].map(HeaderValue::from_static);
        for flag in flags {
            postscript.set(Own::SerinFlags, flag);
        }
        let said = [
            ("via", "1.1 serin"),
            ("forwarded", "for=a"),
            ("serin-flags", "a=stable"),
        ];
        let told = postscript.fields().iter();
        assert!(
            told.map(|(name, value)| (*name, value.to_str().unwrap()))
                .eq(said)
        );
        postscript.put(&mut fields);
        let [via, forwarded, flags] = said;
        assert_eq!(fields, map(&[("x-request-id", "7"), via, forwarded, flags]));
    }

    #[test]
    fn each_is_known_by_its_name_unless_nobody_may_bring_it() {
        for own in [
            Own::XForwardedFor,
            Own::XForwardedHost,
            Own::XForwardedProto,
            Own::Forwarded,
            Own::Via,
            Own::Traceparent,
            Own::Tracestate,
            Own::RequestId,
        ] {
            assert_eq!(Own::brought_as(own.as_str()), Some(own));
        }
        for own in [Own::SerinFlags, Own::SerinApp] {
            assert_eq!(Own::brought_as(own.as_str()), None);
            assert!(own.as_str().starts_with("serin-"));
        }
    }
}
