//! Puts features on one scale, in which each has the mean 0 and the deviation 1.

use crate::domain::segment::{Feature, FeatureTable};
use crate::learning::error::TrainingError;

/// A deviation below this part of the mean is rounding.
const DEVIATION_SHARE_MIN: f64 = 1e-12;

/// Mean and deviation of each feature.
pub(super) fn scales(table: &FeatureTable) -> Result<Vec<Feature>, TrainingError> {
    let width = table.features.len();
    let column = |place: usize| table.values.iter().skip(place).step_by(width);
    #[allow(clippy::cast_precision_loss, reason = "no table has 2^53 rows")]
    let rows = table.rows() as f64;
    let scale = |(place, name): (usize, &str)| {
        let first = table.values[place];
        let name = name.to_owned();
        if column(place).all(|value| value.to_bits() == first.to_bits()) {
            return Err(TrainingError::Constant { column: name });
        }
        let mean = column(place).sum::<f64>() / rows;
        let squares = column(place).map(|value| (value - mean) * (value - mean));
        let deviation = (squares.sum::<f64>() / rows).sqrt();
        if !mean.is_finite() || !deviation.is_finite() {
            return Err(TrainingError::TooWide { column: name });
        }
        if deviation <= mean.abs() * DEVIATION_SHARE_MIN {
            return Err(TrainingError::Constant { column: name });
        }
        Ok(Feature {
            name,
            mean,
            deviation,
        })
    };
    let names = table.features.iter().map(|name| &**name);
    names.enumerate().map(scale).collect()
}

/// The values of a table in standard deviations from the mean.
pub(super) fn standardised(table: &FeatureTable, features: &[Feature]) -> Vec<f64> {
    let scaled = |(value, feature): (&f64, &Feature)| (value - feature.mean) / feature.deviation;
    let values = table.values.iter().zip(features.iter().cycle());
    values.map(scaled).collect()
}
