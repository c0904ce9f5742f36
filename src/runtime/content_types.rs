//! Numbers for content types, so that they are counted like everything else: by place.
//!
//! Backends say what they like, so there are few numbers, given out in the order of first sight; whatever
//! comes when all are taken shares the last. Reading takes no lock: a place once filled never changes.

use std::sync::OnceLock;

use crate::domain::evidence::ContentTypeIndex;

/// Types that have a number of their own: all numbers but the two for "none" and "other".
const NAMED: usize = ContentTypeIndex::COUNT - 2;

/// The longest type that gets a number, in bytes: longer than any in use.
const BYTES_MAX: usize = 100;

/// The content types that were seen, in all workers.
#[derive(Debug, Default)]
pub struct ContentTypes([OnceLock<Box<str>>; NAMED]);

impl ContentTypes {
    /// The number of the type that a `content-type` field says, without its parameters and however its
    /// letters are written; `None` stands for an answer without the field.
    pub fn number(&self, field: Option<&[u8]>) -> ContentTypeIndex {
        let Some(field) = field else {
            return ContentTypeIndex::NONE;
        };
        if let Some(number) = self.number_as_written(field) {
            return number;
        }
        let end = field.iter().position(|byte| *byte == b';');
        let name = field[..end.unwrap_or(field.len())].trim_ascii();
        if name.is_empty() {
            return ContentTypeIndex::NONE;
        }
        let Ok(name) = std::str::from_utf8(name) else {
            return ContentTypeIndex::OTHER;
        };
        if name.len() > BYTES_MAX {
            return ContentTypeIndex::OTHER;
        }
        let place = self.0.iter().position(|known| {
            // Two workers may see a type first: one fills the place, and both compare with what is there.
            let known = known.get_or_init(|| name.to_ascii_lowercase().into());
            known.eq_ignore_ascii_case(name)
        });
        place.map_or(ContentTypeIndex::OTHER, |place| {
            ContentTypeIndex::at(place + 1)
        })
    }

    /// The number of a type that is known and written as it is kept, which nearly all are.
    fn number_as_written(&self, field: &[u8]) -> Option<ContentTypeIndex> {
        let known = self.0.iter().map_while(OnceLock::get);
        let place = known.enumerate().find_map(|(place, known)| {
            let rest = field.strip_prefix(known.as_bytes())?;
            matches!(rest, [] | [b';', ..]).then_some(place)
        });
        Some(ContentTypeIndex::at(place? + 1))
    }

    /// What a number stands for, to be shown.
    pub fn name(&self, number: ContentTypeIndex) -> &str {
        match number {
            ContentTypeIndex::NONE => "none",
            ContentTypeIndex::OTHER => "other",
            named => {
                let known = self.0.get(named.place() - 1).and_then(OnceLock::get);
                known.map_or("unknown", |name| name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_one_number_however_it_is_written() {
        let types = ContentTypes::default();
        let html = types.number(Some(b"text/html; charset=utf-8"));
        let json = types.number(Some(b"Application/JSON"));
        assert_ne!(html, json);
        assert_eq!(types.number(Some(b"TEXT/HTML")), html);
        assert_eq!(types.number(Some(b" application/json ;v=1")), json);
        assert_eq!(types.name(json), "application/json");
        assert_eq!(types.number(Some(b"application/json;v=2")), json);
        assert_eq!(types.number(Some(b"application/json")), json);
        assert_ne!(types.number(Some(b"application/json+x")), json);
        assert_eq!(types.number(None), ContentTypeIndex::NONE);
        assert_eq!(types.number(Some(b" ; charset=x")), ContentTypeIndex::NONE);
    }

    #[test]
    fn there_are_no_more_numbers_than_places() {
        let types = ContentTypes::default();
        let number = |name: String| types.number(Some(name.as_bytes()));
        let numbers: Vec<_> = (0..40).map(|i| number(format!("a/{i}"))).collect();
        assert_eq!(numbers[0].place(), 1);
        assert_eq!(numbers[29].place(), 30);
        for other in &numbers[30..] {
            assert_eq!(*other, ContentTypeIndex::OTHER);
        }
        assert_eq!(number("a/3".to_owned()), numbers[3]);
        assert_eq!(number("x".repeat(101)), ContentTypeIndex::OTHER);
        assert_eq!(types.number(Some(&[0xff])), ContentTypeIndex::OTHER);
    }

    #[test]
    fn workers_that_see_a_type_at_once_agree_on_its_number() {
        let types = ContentTypes::default();
        let seen = std::thread::scope(|threads| {
            let look = || {
                let names = (0..30).map(|i| format!("a/{i}"));
                let numbers = names.map(|name| (types.number(Some(name.as_bytes())), name));
                numbers.collect::<Vec<_>>()
            };
            let workers: Vec<_> = (0..4).map(|_| threads.spawn(look)).collect();
            let seen = workers.into_iter().map(|worker| worker.join().unwrap());
            seen.collect::<Vec<_>>()
        });
        for (number, name) in seen.iter().flatten() {
            assert_eq!(types.name(*number), name);
        }
    }
}
