//! Draws rows in the plane in which they differ most, as SVG.
//!
//! The axes are the two principal axes of the standardised features (Pearson 1901), found by
//! multiplying again and again with the matrix of covariances.

use std::fmt::Write as _;

use crate::domain::segment::FeatureTable;
use crate::learning::Training;
use crate::learning::sample::places;

/// The most rows that are drawn.
const POINTS_MAX: usize = 2_000;

/// How often a direction is multiplied; many more times than it needs.
const TURNS: usize = 500;

/// Colours that people tell apart whatever their eyes (Okabe and Ito 2008), then over again.
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
];

/// The sides of the drawing, and the space around it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 540.0;
const MARGIN: f64 = 40.0;

/// A drawing of a table's rows in the colours of their segments.
pub fn svg(table: &FeatureTable, training: &Training) -> String {
    let rows = places(table.rows(), POINTS_MAX, training.model.document().seed);
    let centroids = training.model.centroids();
    let points = |row: &[f64]| centroids.standardised(row).collect::<Vec<f64>>();
    let points: Vec<Vec<f64>> = rows.iter().map(|row| points(table.row(*row))).collect();
    let axes = axes(&points);
    let placed = points
        .iter()
        .map(|point| axes.each_ref().map(|axis| dot(axis, point)));
    let placed: Vec<[f64; 2]> = placed.collect();
    let scale = Scale::of(&placed);
    let mut drawing = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    for (row, point) in rows.iter().zip(&placed) {
        let segment = usize::from(training.assigned[*row].0);
        let [x, y] = scale.place(*point);
        let colour = COLOURS[segment % COLOURS.len()];
        // Writing to a text cannot fail.
        let _ = writeln!(
            drawing,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\" fill-opacity=\"0.6\"/>"
        );
    }
    legend(&mut drawing, training);
    let [first, second] = axes.map(|axis| escaped(&axis_name(&axis, &table.features)));
    let _ = write!(
        drawing,
        "<text x=\"{MARGIN}\" y=\"{:.0}\">{first}</text>\n\
         <text x=\"14\" y=\"{:.0}\" transform=\"rotate(-90 14 {:.0})\">{second}</text>\n</svg>\n",
        HEIGHT - 12.0,
        HEIGHT - MARGIN,
        HEIGHT - MARGIN,
    );
    drawing
}

fn legend(drawing: &mut String, training: &Training) {
    let mut y = 20.0;
    for (place, segment) in training.model.document().segments.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let name = escaped(&segment.name);
        let _ = writeln!(
            drawing,
            "<circle cx=\"{MARGIN}\" cy=\"{:.0}\" r=\"5\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"{y:.0}\">{name} ({})</text>",
            y - 4.0,
            MARGIN + 12.0,
            segment.rows
        );
        y += 18.0;
    }
}

/// The feature that bears most on an axis, and in which direction.
fn axis_name(axis: &[f64], features: &[Box<str>]) -> String {
    let mut ranked: Vec<(&f64, &Box<str>)> = axis.iter().zip(features).collect();
    ranked.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
    let words = ranked
        .iter()
        .take(3)
        .map(|(part, name)| format!("{part:+.2} {name}"));
    words.collect::<Vec<_>>().join(" ") + " \u{2192}"
}

/// The two directions in which points differ most.
fn axes(points: &[Vec<f64>]) -> [Vec<f64>; 2] {
    let width = points.first().map_or(0, Vec::len);
    let mut covariances = vec![vec![0.0; width]; width];
    for point in points {
        for (row, value) in covariances.iter_mut().zip(point) {
            row.iter_mut()
                .zip(point)
                .for_each(|(sum, other)| *sum += value * other);
        }
    }
    let first = direction(&covariances);
    let strength = dot(&first, &times(&covariances, &first));
    for (row, part) in covariances.iter_mut().zip(&first) {
        row.iter_mut()
            .zip(&first)
            .for_each(|(sum, other)| *sum -= strength * part * other);
    }
    let second = direction(&covariances);
    [first, second]
}

/// The direction that a matrix stretches most, of length one; its greatest part is positive.
fn direction(matrix: &[Vec<f64>]) -> Vec<f64> {
    // Begun with different parts, so that it stands at a right angle to hardly any direction.
    let parts = std::iter::successors(Some(1.0_f64), |part| Some(part + 1.0));
    let mut found: Vec<f64> = parts.take(matrix.len()).map(f64::recip).collect();
    for _ in 0..TURNS {
        let turned = times(matrix, &found);
        let length = dot(&turned, &turned).sqrt();
        if length < f64::MIN_POSITIVE {
            return vec![0.0; matrix.len()];
        }
        found = turned.into_iter().map(|part| part / length).collect();
    }
    let greatest = found
        .iter()
        .copied()
        .max_by(|a, b| a.abs().total_cmp(&b.abs()));
    let sign = greatest.map_or(1.0, f64::signum);
    found.into_iter().map(|part| part * sign).collect()
}

fn times(matrix: &[Vec<f64>], vector: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| dot(row, vector)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// From where points lie to where they are drawn.
struct Scale {
    from: [f64; 2],
    to: [f64; 2],
}

impl Scale {
    fn of(points: &[[f64; 2]]) -> Self {
        let bound = |side: usize, better: fn(f64, f64) -> f64| {
            points
                .iter()
                .map(|point| point[side])
                .reduce(better)
                .unwrap_or_default()
        };
        Self {
            from: [bound(0, f64::min), bound(1, f64::min)],
            to: [bound(0, f64::max), bound(1, f64::max)],
        }
    }

    fn place(&self, point: [f64; 2]) -> [f64; 2] {
        let part = |side: usize| {
            let width = self.to[side] - self.from[side];
            if width > 0.0 {
                (point[side] - self.from[side]) / width
            } else {
                0.5
            }
        };
        let x = MARGIN + part(0) * (WIDTH - 2.0 * MARGIN);
        let y = HEIGHT - MARGIN - part(1) * (HEIGHT - 2.0 * MARGIN);
        [x, y]
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
