//! How days, times of day and zones are written.

use jiff::tz::TimeZone;

use crate::domain::gate::{Days, TimeOfDay};

use crate::config::schema::Shape;
use crate::config::suggest;
use crate::config::written::FromText;

/// The days of a week, in its order.
const DAYS: [(&str, &str); 7] = [
    ("mon", "monday"),
    ("tue", "tuesday"),
    ("wed", "wednesday"),
    ("thu", "thursday"),
    ("fri", "friday"),
    ("sat", "saturday"),
    ("sun", "sunday"),
];

/// A day, or some in a row: `mon`, `mon-fri`, `sat-mon`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct DaysWritten(pub(super) Days);

impl FromText for DaysWritten {
    const EXPECTED: &'static str = "days such as `mon` or `mon-fri`";
    const SHAPE: Shape = Shape::of(
        r"\s*[A-Za-z]+\s*(?:-\s*[A-Za-z]+\s*)?",
        &["mon", "sat", "mon-fri", "sat-sun"],
    );

    fn from_text(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (mut day, last) = (day(first)?, day(last)?);
        let mut days = Days::default().with(day);
        while day != last {
            day = (day + 1) % 7;
            days = days.with(day);
        }
        Ok(Self(days))
    }
}

fn day(text: &str) -> Result<u8, String> {
    let word = text.trim().to_ascii_lowercase();
    let known = DAYS
        .iter()
        .position(|(short, long)| word == *short || word == *long);
    known.and_then(|day| u8::try_from(day).ok()).ok_or_else(|| {
        let hint = suggest::hint_with_all(&word, DAYS.map(|(short, _)| short));
        format!(
            "no day is called `{}`; {}",
            text.trim(),
            hint.unwrap_or_default()
        )
    })
}

/// A time of day: `09:00`, `24:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct TimeWritten(pub(super) TimeOfDay);

impl FromText for TimeWritten {
    const EXPECTED: &'static str = "a time of day such as `\"09:00\"`";
    const INSTEAD_OF_NUMBER: &'static str = "write hours and minutes: `\"09:00\"`";
    const SHAPE: Shape = Shape::of(r"[0-9]{1,2}:[0-9]{2}", &["09:00", "17:30", "24:00"]);

    fn from_text(text: &str) -> Result<Self, String> {
        let number = |digits: &str| match digits.len() {
            1 | 2 if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<u16>().ok(),
            _ => None,
        };
        let parts = text.split_once(':').filter(|(_, minute)| minute.len() == 2);
        let time = parts.and_then(|(hour, minute)| TimeOfDay::new(number(hour)?, number(minute)?));
        time.map(Self)
            .ok_or_else(|| format!("`{text}` is not {}, 00:00 to 24:00", Self::EXPECTED))
    }
}

/// A zone of the IANA database: that of the system, or the one that Serin brings along where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct ZoneWritten(pub(super) TimeZone);

impl FromText for ZoneWritten {
    const EXPECTED: &'static str = "a time zone such as `Asia/Shanghai`";
    const SHAPE: Shape = Shape::of(
        r"[A-Za-z][A-Za-z0-9_+/-]*",
        &["UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York"],
    );

    fn from_text(text: &str) -> Result<Self, String> {
        let zones = jiff::tz::db();
        zones.get(text).map(Self).map_err(|_| {
            let names: Vec<_> = zones
                .available()
                .map(|name| name.as_str().to_owned())
                .collect();
            let hint = match suggest::closest(text, names.iter().map(String::as_str)) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "write a name of the IANA database such as `Asia/Shanghai`".to_owned(),
            };
            format!("no time zone is called `{text}`; {hint}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_single_or_in_a_row() {
        let days = |numbers: &[u8]| {
            let days = numbers
                .iter()
                .fold(Days::default(), |days, day| days.with(*day));
            Ok(DaysWritten(days))
        };
        for (text, expected) in [
            ("mon", days(&[0])),
            ("Sunday", days(&[6])),
            ("mon-fri", days(&[0, 1, 2, 3, 4])),
            ("sat - mon", days(&[5, 6, 0])),
            ("mon-sun", Ok(DaysWritten(Days::ALL))),
        ] {
            assert_eq!(DaysWritten::from_text(text), expected, "{text}");
        }
        let found = DaysWritten::from_text("mon-fry").unwrap_err();
        assert!(
            found.starts_with("no day is called `fry`; did you mean `fri`?"),
            "{found}"
        );
    }

    #[test]
    fn times_go_from_the_beginning_of_a_day_to_its_end() {
        for (text, time) in [("00:00", (0, 0)), ("9:05", (9, 5)), ("24:00", (24, 0))] {
            let expected = TimeOfDay::new(time.0, time.1).unwrap();
            assert_eq!(TimeWritten::from_text(text), Ok(TimeWritten(expected)));
        }
        for bad in ["24:01", "25:00", "09:60", "9", "9:5", "+9:00", "noon", ""] {
            assert!(TimeWritten::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_zone_that_is_none_is_refused_with_the_one_that_was_meant() {
        assert!(ZoneWritten::from_text("Asia/Shanghai").is_ok());
        let found = ZoneWritten::from_text("Asia/Shangai").unwrap_err();
        assert_eq!(
            found,
            "no time zone is called `Asia/Shangai`; did you mean `Asia/Shanghai`?"
        );
        let found = ZoneWritten::from_text("xyzzy/plugh").unwrap_err();
        assert!(found.contains("IANA database"), "{found}");
    }
}
