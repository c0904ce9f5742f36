//! Who calls, and how often.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

/// Callers of one flag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crowd {
    /// How many there are; at least one.
    pub callers: u32,
    /// Requests a second of all together.
    pub rate: f64,
    /// Who of them asks how often.
    pub activity: Activity,
}

/// How requests are spread over callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// Everyone asks equally often.
    #[default]
    Equal,
    /// The n-th busiest asks 1/n as often as the busiest (Zipf), as is usual: of a thousand
    /// callers the busiest makes about a tenth of all requests.
    ByRank,
    /// One caller in twenty, and at least one, makes four fifths of all requests.
    FewHeavy,
}

/// The share of callers who are heavy among few, and what they make of all requests.
const HEAVY: (f64, f64) = (0.05, 0.8);

impl Crowd {
    /// The pause until the next request of anybody, in seconds. Exponential pauses make arrivals
    /// independent of each other.
    pub fn draw_pause(&self, random: &mut Xoshiro256PlusPlus) -> f64 {
        -(1.0 - random.random::<f64>()).ln() / self.rate
    }

    /// Whose the next request is: a number from 0 to below [`callers`](Self::callers).
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of callers is a number of callers"
    )]
    pub fn draw_caller(&self, random: &mut Xoshiro256PlusPlus) -> u32 {
        let place = random.random::<f64>();
        let callers = f64::from(self.callers);
        let caller = match self.activity {
            Activity::Equal => (place * callers) as u32,
            // The inverse of the distribution function ln(n) / ln(callers).
            Activity::ByRank => callers.powf(place) as u32 - 1,
            Activity::FewHeavy => {
                let heavy = (HEAVY.0 * callers).ceil();
                let caller = match place < HEAVY.1 {
                    true => place / HEAVY.1 * heavy,
                    false => heavy + (place - HEAVY.1) / (1.0 - HEAVY.1) * (callers - heavy),
                };
                caller as u32
            }
        };
        caller.min(self.callers.saturating_sub(1))
    }

    /// The key by which a caller is known.
    pub fn key(caller: u32) -> String {
        format!("caller-{}", u64::from(caller) + 1)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn one_in_twenty_makes_four_fifths_and_the_others_share_the_rest() {
        let crowd = Crowd {
            callers: 60,
            rate: 1.0,
            activity: Activity::FewHeavy,
        };
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut counts = [0_u32; 60];
        for _ in 0..20_000 {
            counts[crowd.draw_caller(&mut random) as usize] += 1;
        }
        let heavy: u32 = counts[..3].iter().sum();
        assert!((15_700..16_300).contains(&heavy), "{heavy}");
        assert!(counts[3..].iter().all(|count| (35..110).contains(count)));
    }

    #[test]
    fn a_single_caller_makes_all_requests_whatever_its_habit() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        for activity in [Activity::Equal, Activity::ByRank, Activity::FewHeavy] {
            let crowd = Crowd {
                callers: 1,
                rate: 1.0,
                activity,
            };
            assert!((0..100).all(|_| crowd.draw_caller(&mut random) == 0));
        }
    }
}
