//! A table of what the running Serin counts of callers.

use http::Method;
use serde_json::json;

use crate::cli::exit::Unusable;
use crate::cli::remote::Remote;
use crate::domain::caller_features::CallerFeatures;
use crate::domain::segment::{Columns, FeatureTable, TableError};

/// Grows with the time that a caller is known, and says the same as the rate beside it.
const NOT_LEARNED_FROM: &str = "requests";

/// What callers are called in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// By their keys; it is written into the journal.
    Key,
    /// By their pseudonyms.
    Pseudonym,
}

/// What is counted of callers now, as the API tells it.
pub(super) fn read(remote: &Remote, named: Named, why: &str) -> anyhow::Result<String> {
    let path = "/api/v1/callers/export";
    let said = json!({ "reason": why });
    let mut bytes = Vec::new();
    let take = |part: &[u8]| {
        bytes.extend_from_slice(part);
        true
    };
    match named {
        Named::Key => remote.download((Method::POST, path), Some(&said), take)?,
        Named::Pseudonym => remote.download((Method::GET, path), None, take)?,
    }
    Ok(String::from_utf8(bytes)?)
}

/// What a model can learn from: what all callers have alike tells nothing of any of them, and is left out; its names
/// are given beside.
pub(super) fn learnable(
    text: &str,
    unwanted: &[String],
) -> anyhow::Result<(FeatureTable, Vec<&'static str>)> {
    let table = |ignored: &[&str]| {
        let columns = Columns {
            ignored,
            ..Columns::default()
        };
        FeatureTable::read(text, &columns)
    };
    let whole = table(&[]).map_err(|error| Unusable(format!("the callers' features: {error}")))?;
    let is_constant = |name: &&'static str| {
        let Some(column) = whole.features.iter().position(|known| **known == **name) else {
            return false;
        };
        let mut values = (0..whole.rows()).map(|row| whole.row(row)[column]);
        let first = values.next();
        values.all(|value| first.is_some_and(|first| (value - first).abs() < f64::EPSILON))
    };
    let constant: Vec<_> = CallerFeatures::NAMES
        .into_iter()
        .filter(is_constant)
        .collect();
    let mut ignored = vec![NOT_LEARNED_FROM];
    ignored.extend(&constant);
    let unwanted = unwanted.iter().map(String::as_str);
    ignored.extend(unwanted.filter(|name| !constant.contains(name) && *name != NOT_LEARNED_FROM));
    let table = table(&ignored).map_err(|error| {
        let hint = match error {
            TableError::NoFeatures => "; there is nothing to tell callers apart by yet",
            _ => "",
        };
        Unusable(format!("the callers' features: {error}{hint}"))
    });
    Ok((table?, constant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_have_alike_is_left_out() {
        let header = format!("pseudonym,{}", CallerFeatures::NAMES.join(","));
        let text = format!("{header}\na,5,1,0,3,3,0,7,0,1\nb,6,2,0,4,3,0,7,0,1\n");
        let (table, left_out) = learnable(&text, &[]).unwrap();
        let learned: Vec<_> = table.features.iter().map(|name| &**name).collect();
        assert_eq!(learned, ["requests_per_second", "latency_mean_ms"]);
        assert_eq!(left_out.len(), 6);
        let problem = |text: &str, unwanted: &str| {
            let unwanted = [unwanted.to_owned()];
            learnable(text, &unwanted).unwrap_err().to_string()
        };
        let hint = "there is nothing to tell callers apart by yet";
        let alone = problem(&format!("{header}\na,5,1,0,3,3,0,7,0,1\n"), "requests");
        assert!(alone.ends_with(hint), "{alone}");
        let unknown = problem(&text, "typo");
        assert!(
            unknown.contains("there is no column `typo`") && !unknown.contains(hint),
            "{unknown}"
        );
        assert!(learnable(&header, &[]).is_err(), "nobody was there");
    }
}
