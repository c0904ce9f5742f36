//! A caller's key from a token that the request brings, and the claims that go with it.
//!
//! A token is verified once and remembered by its SHA-256, as long as neither the sources nor the keys are
//! others, and until its own time is over, for a signature takes far longer to verify than a hash to look up.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use http::{HeaderMap, header};
use tokio::sync::Notify;

use crate::domain::caller;
use crate::domain::identity::IdentitySource;
use crate::domain::jwt::{
    Claims, JwtSource, KeySet, KeySource, TOKEN_BYTES_MAX, TokenFault, TokenPlace, Verified,
};
use crate::domain::routing::RoutingSnapshot;
use crate::runtime::clock;
use crate::runtime::key_ring::{KeyRing, KeyRingReader, TokenCounters};
use crate::runtime::snapshot::SnapshotReader;

/// Tokens of each of two generations that a worker remembers.
const REMEMBERED_MAX: usize = 512;

/// What a request says of its sender by tokens.
#[derive(Debug, Default)]
pub struct PresentedToken {
    /// The first token that is believed, and the place of its source.
    token: Option<(usize, Arc<Verified>)>,
    /// Why the first one is not, where none is.
    fault: Option<TokenFault>,
    /// Why the request may not pass.
    refusal: Option<TokenRefusal>,
}

/// Why a request does not pass for want of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenRefusal {
    /// It brings none.
    #[error("a token is needed here")]
    Missing,
    /// It brings one that is not believed.
    #[error("{0}")]
    Bad(TokenFault),
}

impl PresentedToken {
    /// The caller's key by one source.
    pub(crate) fn key(&self, source: usize) -> Option<&str> {
        let token = self.token.as_ref();
        let token = token.filter(|(place, _)| *place == source);
        token.map(|(_, token)| &*token.key)
    }

    /// The caller's key by whichever source.
    pub(crate) fn caller(&self) -> Option<&str> {
        self.token.as_ref().map(|(_, token)| &*token.key)
    }

    /// What the token says.
    pub(crate) fn claims(&self) -> Option<&Claims> {
        self.token.as_ref().map(|(_, token)| &token.claims)
    }

    /// Whether there is a token that is believed, or why the first is not; none where there is none.
    pub fn outcome(&self) -> Option<Result<(), TokenFault>> {
        match (&self.token, self.fault) {
            (Some(_), _) => Some(Ok(())),
            (None, fault) => fault.map(Err),
        }
    }

    /// Whether the request may pass, as far as tokens are asked for.
    pub(crate) const fn check(&self) -> Result<(), TokenRefusal> {
        match self.refusal {
            None => Ok(()),
            Some(refusal) => Err(refusal),
        }
    }
}

/// Looks for a token that is believed; sources are asked in their order.
fn present(
    sources: &[IdentitySource],
    headers: &HeaderMap,
    mut verify: impl FnMut(usize, &JwtSource, &str) -> Result<Arc<Verified>, TokenFault>,
) -> PresentedToken {
    let (mut first, mut refusal) = (None, None);
    for (place, source) in sources.iter().enumerate() {
        let IdentitySource::Jwt(source) = source else {
            continue;
        };
        let found = token(headers, &source.place);
        let verified = found.map(|found| found.and_then(|token| verify(place, source, token)));
        let missed = match verified {
            Some(Ok(token)) => {
                return PresentedToken {
                    token: Some((place, token)),
                    ..PresentedToken::default()
                };
            }
            Some(Err(fault)) => {
                first = first.or(Some(fault));
                TokenRefusal::Bad(fault)
            }
            None => TokenRefusal::Missing,
        };
        if source.required && refusal.is_none() {
            refusal = Some(missed);
        }
    }
    PresentedToken {
        token: None,
        fault: first,
        refusal,
    }
}

/// The token of a request; none where there is none, a fault where there are several.
fn token<'a>(headers: &'a HeaderMap, place: &TokenPlace) -> Option<Result<&'a str, TokenFault>> {
    let name = match place {
        TokenPlace::Cookie(name) => return caller::cookie(headers, name).map(Ok),
        TokenPlace::Header(name) => name,
    };
    let mut fields = headers.get_all(name).iter();
    let field = fields.next()?;
    if fields.next().is_some() {
        // The backend may go by another one.
        return Some(Err(TokenFault::Malformed));
    }
    let Ok(text) = field.to_str() else {
        return Some(Err(TokenFault::Malformed));
    };
    match text.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Some(Ok(token.trim_start()))
        }
        // Other credentials, and no token.
        _ if *name == header::AUTHORIZATION => None,
        Some(_) => Some(Err(TokenFault::Malformed)),
        None => Some(Ok(text.trim())).filter(|token| *token != Ok("")),
    }
}

/// The keys of a source, and whether they are fetched.
fn keys<'a>(source: &'a JwtSource, ring: &'a KeyRing) -> Result<&'a KeySet, TokenFault> {
    match &source.keys {
        KeySource::Fixed(keys) => Ok(keys),
        KeySource::Remote(remote) => match ring.of(remote) {
            Some(keys) => Ok(keys),
            None => Err(TokenFault::NoKeys),
        },
    }
}

/// Verifies the tokens of a request without remembering them, at a time in seconds since 1970.
pub(crate) fn present_once(
    sources: &[IdentitySource],
    headers: &HeaderMap,
    ring: &KeyRing,
    now: u64,
) -> PresentedToken {
    let verify = |_, source: &JwtSource, token: &str| {
        let verified = source.policy.verify(token, keys(source, ring)?, now)?;
        Ok(Arc::new(verified))
    };
    present(sources, headers, verify)
}

/// Verifies the tokens of one worker's requests.
pub struct TokenDesk {
    wanted: Arc<Notify>,
    counters: Arc<TokenCounters>,
    memory: RefCell<Memory>,
}

/// What was verified, and by what.
struct Memory {
    reader: SnapshotReader<KeyRing>,
    ring: Arc<KeyRing>,
    sources: Arc<[IdentitySource]>,
    young: HashMap<Mark, Arc<Verified>>,
    old: HashMap<Mark, Arc<Verified>>,
}

/// A token by one source, without the token.
type Mark = (usize, [u8; SHA256_OUTPUT_LEN]);

impl TokenDesk {
    /// One that remembers nothing yet.
    pub fn new(keys: KeyRingReader, counters: Arc<TokenCounters>) -> Self {
        Self {
            wanted: keys.wanted,
            counters,
            memory: RefCell::new(Memory {
                ring: keys.ring.load(),
                reader: keys.ring,
                sources: Arc::default(),
                young: HashMap::new(),
                old: HashMap::new(),
            }),
        }
    }

    /// Verifies the tokens of a request.
    pub fn present(&self, routing: &RoutingSnapshot, headers: &HeaderMap) -> PresentedToken {
        let sources = &routing.identity;
        let is_token = |source: &IdentitySource| matches!(source, IdentitySource::Jwt(_));
        if !sources.iter().any(is_token) {
            return PresentedToken::default();
        }
        let mut memory = self.memory.borrow_mut();
        memory.keep_up(sources);
        let verify = |place, source: &JwtSource, token: &str| {
            memory.verify(place, source, token, clock::wall().as_secs())
        };
        let presented = present(sources, headers, verify);
        match presented.outcome() {
            Some(Ok(())) => self.counters.verified.add(1),
            Some(Err(fault)) => {
                self.counters.count(fault);
                if fault == TokenFault::UnknownKey {
                    self.wanted.notify_one();
                }
            }
            None => {}
        }
        presented
    }
}

impl Memory {
    /// Forgets everything where it was verified by other keys, or for other sources.
    fn keep_up(&mut self, sources: &Arc<[IdentitySource]>) {
        let news = self.reader.refresh();
        let is_same = Arc::ptr_eq(&self.sources, sources);
        if news.is_none() && is_same {
            return;
        }
        if let Some(ring) = news {
            self.ring = ring;
        }
        self.sources = Arc::clone(sources);
        self.young = HashMap::new();
        self.old = HashMap::new();
    }

    fn verify(
        &mut self,
        place: usize,
        source: &JwtSource,
        token: &str,
        now: u64,
    ) -> Result<Arc<Verified>, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        let mut hash = [0; SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let mark = (place, hash);
        let known = self.young.get(&mark).map(Arc::clone);
        let known = known.or_else(|| self.old.remove(&mark));
        let verified = match known {
            Some(known) if now >= known.until => {
                self.young.remove(&mark);
                return Err(TokenFault::Expired);
            }
            Some(known) => known,
            None => {
                let keys = keys(source, &self.ring)?;
                Arc::new(source.policy.verify(token, keys, now)?)
            }
        };
        self.remember(mark, &verified);
        Ok(verified)
    }

    /// Keeps a token, and lets go of those that were not seen for longest, half of all at once.
    fn remember(&mut self, mark: Mark, verified: &Arc<Verified>) {
        if self.young.contains_key(&mark) {
            return;
        }
        if self.young.len() >= REMEMBERED_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(mark, Arc::clone(verified));
    }
}
