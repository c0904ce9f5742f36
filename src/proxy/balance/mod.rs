//! Which endpoint of a pool is asked next.
//!
//! Each policy is one file and one line of the table below.

pub(crate) mod round_robin;

/// Picks endpoints in turn, by whatever a policy goes by.
pub(crate) trait Balance {
    /// The place of the next endpoint among `count` of them; `count` is at least 1.
    fn pick(&self, count: usize) -> usize;
}

macro_rules! policies {
    ($($kind:ident => $policy:path,)*) => {
        /// One policy of any kind.
        #[derive(Debug)]
        pub(crate) enum Policy {
            $($kind($policy),)*
        }

        impl Balance for Policy {
            fn pick(&self, count: usize) -> usize {
                match self {
                    $(Self::$kind(policy) => policy.pick(count),)*
                }
            }
        }
    };
}

policies! {
    RoundRobin => round_robin::RoundRobin,
}
