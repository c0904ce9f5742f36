//! Windows of time.

use jiff::tz::TimeZone;

use crate::domain::gate::{Days, TimeOfDay, Window};

use crate::config::defaults::GATES_MAX;
use crate::config::document::{AnyWindowDocument, WindowDocument};
use crate::config::gate::GateReader;
use crate::config::written::{Placed, ShortOr};

impl GateReader<'_> {
    /// The windows of a gate; none where there are none, which is reported.
    pub(super) fn windows(&self, written: &AnyWindowDocument) -> Option<Vec<Window>> {
        let windows: Vec<_> = match written {
            ShortOr::Long(window) => vec![self.window(window)],
            ShortOr::Short(list) => {
                if list.value.is_empty() && !self.report.has_problem_within(list.place) {
                    let hint = "write `{ days: [mon-fri], from: \"09:00\", to: \"17:00\" }`";
                    self.add(list.place, "there must be at least one window", hint);
                }
                if let Some(window) = list.value.get(GATES_MAX) {
                    let problem = format!("more than {GATES_MAX} windows");
                    self.add(window.place, &problem, "write fewer that are longer");
                }
                list.value
                    .iter()
                    .map(|window| self.window(window))
                    .collect()
            }
        };
        (!windows.is_empty()).then_some(windows)
    }

    fn window(&self, written: &Placed<WindowDocument>) -> Window {
        let WindowDocument {
            days,
            from,
            to,
            zone,
        } = &written.value;
        let says_nothing = days.is_none() && from.is_none() && to.is_none();
        if says_nothing && !self.report.has_problem_within(written.place) {
            let hint = "add `days: [mon-fri]`, or `from` and `to`";
            self.add(written.place, "this window is always open", hint);
        }
        if let (Some(from), Some(to)) = (from, to)
            && from.value == to.value
        {
            let problem = "a window that ends when it begins";
            self.add(to.place, problem, "write `24:00` for the end of the day");
        }
        let all = days.as_ref().map(|days| {
            if days.value.is_empty() && !self.report.has_problem_within(days.place) {
                self.add(
                    days.place,
                    "no day opens this window",
                    "write `[mon-fri]`, say",
                );
            }
            let each = days.value.iter();
            each.fold(Days::default(), |all, days| all.and(days.value.0))
        });
        Window {
            days: all.unwrap_or(Days::ALL),
            from: from.as_ref().map_or(TimeOfDay::START, |time| time.value.0),
            to: to.as_ref().map_or(TimeOfDay::END, |time| time.value.0),
            zone: zone
                .as_ref()
                .map_or(TimeZone::UTC, |zone| zone.value.0.clone()),
        }
    }
}
