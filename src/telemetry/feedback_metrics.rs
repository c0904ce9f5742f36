//! What is exported of callers' feedback.

use crate::domain::variant::Variant;
use crate::telemetry::family::Family;
use crate::telemetry::samples::FeedbackSamples;

pub(crate) fn feedback(samples: &FeedbackSamples) -> Vec<Family> {
    let mut ratings = Family::histogram(
        "serin_feedback_rating",
        "Ratings of callers, 1 to 5, each caller and release once: as it was rated first",
    );
    let mut raters = Family::gauge(
        "serin_feedback_raters",
        "Callers by how they rate a variant of the release that is or was under way, their last word",
    );
    let mut forgotten = Family::counter(
        "serin_feedback_forgotten_callers_total",
        "Callers that cannot rate, for what they were shown was forgotten for want of room",
    );
    let mut results = Family::counter(
        "serin_feedback_posts_total",
        "Ratings that were handed in, by what became of them",
    );
    for sample in &samples.flags {
        let flag = sample.flag.as_str();
        forgotten.add_count(&[("flag", flag)], sample.forgotten);
        for variant in Variant::ALL {
            let labels = [("flag", flag), ("variant", variant.as_str())];
            ratings.add_ratings(&labels, sample.recorded.get(variant));
            let each = ["1", "2", "3", "4", "5"].into_iter();
            for (rating, count) in each.zip(sample.raters.get(variant)) {
                let [flag, variant] = labels;
                raters.add_count(&[flag, variant, ("rating", rating)], *count);
            }
        }
    }
    for (result, count) in &samples.results {
        results.add_count(&[("result", result)], *count);
    }
    vec![ratings, raters, forgotten, results]
}
