//! Counts what becomes of the connections that clients of one worker make.

use crate::runtime::recorder::Counter;

/// Numbers that only grow.
#[derive(Debug, Default)]
pub struct ConnectionCounters {
    /// Handshakes of TLS after which the connection was served.
    pub completed: Counter,
    /// Those whose client spoke something else, wanted what is not served, refused the certificate or left.
    pub failed: Counter,
    /// Those whose client took too long.
    pub timed_out: Counter,
    /// Connections that were cut, by [`Cut`].
    cuts: [Counter; Cut::ALL.len()],
}

/// Why a client's connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// There were as many as there may be.
    TooMany,
    /// A head that was begun did not come to its end in time.
    SlowHead,
    /// The client did not take what it was sent.
    NotTaking,
    /// It asked for more over HTTP/2 than anybody may.
    Flood,
}

impl Cut {
    const ALL: [Self; 4] = [Self::TooMany, Self::SlowHead, Self::NotTaking, Self::Flood];

    /// The name it is exported under.
    const fn as_str(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::SlowHead => "slow_head",
            Self::NotTaking => "not_taking",
            Self::Flood => "flood",
        }
    }
}

impl ConnectionCounters {
    /// Counts a connection that is cut.
    pub fn cut(&self, why: Cut) {
        self.cuts[why as usize].add(1);
    }

    /// The handshakes by the names they are exported under.
    pub fn handshakes(&self) -> [(&'static str, u64); 3] {
        [
            ("completed", self.completed.get()),
            ("failed", self.failed.get()),
            ("timed_out", self.timed_out.get()),
        ]
    }

    /// The same of connections that were cut.
    pub fn cuts(&self) -> [(&'static str, u64); Cut::ALL.len()] {
        Cut::ALL.map(|why| (why.as_str(), self.cuts[why as usize].get()))
    }
}
