//! Times of the week, by the clocks of a zone.
//!
//! A window begins on a day at a time and ends at a later one, or on the next day where the end is not
//! later. Both are moments: a time that clocks skip in the night of a change is taken as much later as they
//! skip, and one that comes twice means the first. So a window is one span of time for each day, which may
//! be an hour longer or shorter than it reads, or none at all where it lies in what is skipped.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;

/// How far ahead an opening is looked for: a window on one day of the week may be empty once.
const DAYS_AHEAD: usize = 16;

/// Minutes of a day.
const MINUTES: u16 = 24 * 60;

/// Days of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days(u8);

impl Days {
    /// All of them.
    pub const ALL: Self = Self(0b111_1111);

    /// Adds a day, counted from 0 for Monday.
    #[must_use]
    pub const fn with(self, day: u8) -> Self {
        Self(self.0 | 1 << (day % 7))
    }

    /// These and others.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    const fn has(self, day: Weekday) -> bool {
        self.0 & (1 << (day as u8 - 1)) != 0
    }
}

/// A time of a day, to the minute: 00:00 to 24:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// The beginning of a day.
    pub const START: Self = Self(0);
    /// Its end.
    pub const END: Self = Self(MINUTES);

    /// A time; none where there is no such.
    pub const fn new(hour: u16, minute: u16) -> Option<Self> {
        let minutes = hour * 60 + minute;
        if hour <= 24 && minute < 60 && minutes <= MINUTES {
            Some(Self(minutes))
        } else {
            None
        }
    }

    /// The moment as clocks show it on a day.
    fn on(self, day: Date) -> Option<DateTime> {
        let (day, minutes) = match self.0 {
            MINUTES => (day.tomorrow().ok()?, 0),
            minutes => (day, minutes),
        };
        let (hour, minute) = (minutes / 60, minutes % 60);
        let small = |number: u16| i8::try_from(number).ok();
        Some(day.at(small(hour)?, small(minute)?, 0, 0))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// A span of time on some days of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The days on which it begins.
    pub days: Days,
    /// When it begins.
    pub from: TimeOfDay,
    /// When it ends: on the next day where that is not later.
    pub to: TimeOfDay,
    /// Whose clocks these are.
    pub zone: TimeZone,
}

impl Window {
    /// Whether it is open at a moment, given as the time since 1970.
    pub fn is_open(&self, now: Duration) -> bool {
        let Some(now) = timestamp(now) else {
            return false;
        };
        // One that began yesterday may be open still.
        let is_within = |(begin, end): (Timestamp, Timestamp)| begin <= now && now < end;
        self.spans(now).take(2).any(is_within)
    }

    /// When it opens next after a moment, both as the time since 1970.
    pub fn opens_after(&self, now: Duration) -> Option<Duration> {
        let moment = timestamp(now)?;
        let mut spans = self.spans(moment);
        let next = spans.find(|(begin, end)| *begin > moment && begin < end)?.0;
        u64::try_from(next.as_millisecond())
            .ok()
            .map(Duration::from_millis)
    }

    /// A moment by its clocks: `Mon 2026-11-30 09:00 Asia/Shanghai`.
    pub fn shown(&self, moment: Duration) -> String {
        let Some(moment) = timestamp(moment) else {
            return String::new();
        };
        let local = self.zone.to_datetime(moment);
        let zone = self.zone.iana_name().unwrap_or("UTC");
        format!("{} {zone}", local.strftime("%a %Y-%m-%d %H:%M"))
    }

    /// The spans of the days around a moment, from that of yesterday on; empty ones for other days.
    fn spans(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let today = self.zone.to_datetime(now).date();
        let first = today.yesterday().unwrap_or(today);
        let days = std::iter::successors(Some(first), |day| day.tomorrow().ok());
        days.take(DAYS_AHEAD).map(move |day| {
            self.span_of(day)
                .unwrap_or((Timestamp::MAX, Timestamp::MAX))
        })
    }

    fn span_of(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        if !self.days.has(day.weekday()) {
            return None;
        }
        let last = match self.to > self.from {
            true => day,
            false => day.tomorrow().ok()?,
        };
        let moment = |local: DateTime| self.zone.to_timestamp(local).ok();
        Some((moment(self.from.on(day)?)?, moment(self.to.on(last)?)?))
    }
}

/// A moment that calendars have.
fn timestamp(since_1970: Duration) -> Option<Timestamp> {
    let millis = i64::try_from(since_1970.as_millis()).ok()?;
    Timestamp::from_millisecond(millis).ok()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZoneDatabase;

    use super::*;

    fn window(days: &[u8], from: &str, to: &str, zone: &str) -> Window {
        let time = |text: &str| {
            let (hour, minute) = text.split_once(':').unwrap();
            TimeOfDay::new(hour.parse().unwrap(), minute.parse().unwrap()).unwrap()
        };
        Window {
            days: days
                .iter()
                .fold(Days::default(), |days, day| days.with(*day)),
            from: time(from),
            to: time(to),
            // The same on every machine.
            zone: TimeZoneDatabase::bundled().get(zone).unwrap(),
        }
    }

    fn at(utc: &str) -> Duration {
        let moment: Timestamp = utc.parse().unwrap();
        Duration::from_millis(moment.as_millisecond().try_into().unwrap())
    }

    fn utc(moment: Option<Duration>) -> String {
        let moment = timestamp(moment.unwrap()).unwrap();
        moment.to_string()
    }

    const WEEKDAYS: [u8; 5] = [0, 1, 2, 3, 4];
    const EVERY_DAY: [u8; 7] = [0, 1, 2, 3, 4, 5, 6];

    #[test]
    fn it_is_open_by_the_clocks_of_its_zone() {
        // 2026-11-30 is a Monday; Shanghai is eight hours ahead.
        let office = window(&WEEKDAYS, "09:00", "17:00", "Asia/Shanghai");
        for (now, is_open) in [
            ("2026-11-30T00:59:59Z", false),
            ("2026-11-30T01:00:00Z", true),
            ("2026-11-30T08:59:59Z", true),
            ("2026-11-30T09:00:00Z", false),
            // Saturday there, Friday here.
            ("2026-12-04T17:00:00Z", false),
            ("2026-12-05T03:00:00Z", false),
        ] {
            assert_eq!(office.is_open(at(now)), is_open, "{now}");
        }
        let friday = at("2026-12-04T09:00:00Z");
        let next = office.opens_after(friday);
        assert_eq!(utc(next), "2026-12-07T01:00:00Z");
        let shown = office.shown(next.unwrap());
        assert_eq!(shown, "Mon 2026-12-07 09:00 Asia/Shanghai");
        // Of one that is open, the next.
        let open = at("2026-11-30T02:00:00Z");
        assert_eq!(utc(office.opens_after(open)), "2026-12-01T01:00:00Z");
    }

    #[test]
    fn one_over_midnight_belongs_to_the_day_it_begins_on() {
        let night = window(&[4], "22:00", "02:00", "UTC");
        for (now, is_open) in [
            ("2026-12-04T21:59:59Z", false),
            ("2026-12-04T22:00:00Z", true),
            ("2026-12-05T01:59:59Z", true),
            ("2026-12-05T02:00:00Z", false),
            // Friday as well, but of Thursday's night.
            ("2026-12-04T01:00:00Z", false),
            ("2026-12-05T22:30:00Z", false),
        ] {
            assert_eq!(night.is_open(at(now)), is_open, "{now}");
        }
        let whole = window(&[5], "00:00", "24:00", "UTC");
        assert!(whole.is_open(at("2026-12-05T23:59:59Z")));
        assert!(!whole.is_open(at("2026-12-06T00:00:00Z")));
        let around = window(&EVERY_DAY, "09:00", "09:00", "UTC");
        assert!(around.is_open(at("2026-12-05T08:59:00Z")));
    }

    #[test]
    fn clocks_that_skip_an_hour_move_what_lies_in_it() {
        // On 2026-03-29 Berlin goes from 02:00 to 03:00, which is 01:00 UTC.
        let berlin = |from: &str, to: &str| window(&EVERY_DAY, from, to, "Europe/Berlin");
        let day = at("2026-03-28T12:00:00Z");
        for (from, to, begins, lasts) in [
            ("01:00", "02:00", "2026-03-29T00:00:00Z", 60),
            ("02:30", "04:00", "2026-03-29T01:30:00Z", 30),
            ("02:30", "02:45", "2026-03-29T01:30:00Z", 15),
            ("01:00", "04:00", "2026-03-29T00:00:00Z", 120),
            ("09:00", "17:00", "2026-03-29T07:00:00Z", 480),
        ] {
            assert_open(&berlin(from, to), day, (begins, lasts));
        }
        // There is no such hour on this day.
        let none = berlin("02:00", "03:00");
        assert_eq!(utc(none.opens_after(day)), "2026-03-30T00:00:00Z");
        assert!(!none.is_open(at("2026-03-29T01:00:00Z")));
        let weekly = window(&[6], "02:00", "03:00", "Europe/Berlin");
        assert_eq!(utc(weekly.opens_after(day)), "2026-04-05T00:00:00Z");
    }

    #[test]
    fn clocks_that_repeat_an_hour_mean_the_first_one() {
        // On 2026-11-01 New York goes from 02:00 back to 01:00, which is 06:00 UTC.
        let new_york = |from: &str, to: &str| window(&EVERY_DAY, from, to, "America/New_York");
        let day = at("2026-10-31T12:00:00Z");
        for (from, to, begins, lasts) in [
            ("01:00", "01:30", "2026-11-01T05:00:00Z", 30),
            ("01:30", "02:00", "2026-11-01T05:30:00Z", 90),
            ("00:30", "03:00", "2026-11-01T04:30:00Z", 210),
            ("23:00", "01:00", "2026-11-01T03:00:00Z", 120),
        ] {
            assert_open(&new_york(from, to), day, (begins, lasts));
        }
    }

    /// It opens next at a moment, for so many minutes.
    #[track_caller]
    fn assert_open(window: &Window, after: Duration, (begins, lasts): (&str, u64)) {
        let begin = window.opens_after(after).unwrap();
        assert_eq!(utc(Some(begin)), begins);
        let end = begin + Duration::from_secs(lasts * 60);
        let second = Duration::from_secs(1);
        for (now, is_open) in [
            (begin - second, false),
            (begin, true),
            (end - second, true),
            (end, false),
        ] {
            let shown = utc(Some(now));
            assert_eq!(window.is_open(now), is_open, "{shown} of {begins}");
        }
    }
}
