//! Medians of what was measured, and the line that they lie on.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Measurements of one thing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figures(Vec<f64>);

impl Figures {
    /// Adds a measurement, in seconds.
    pub fn add(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64());
    }

    /// Adds a measurement in another unit.
    pub fn add_number(&mut self, number: f64) {
        self.0.push(number);
    }

    /// The median.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => sorted[odd / 2],
            even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
        }
    }
}

/// The straight line with the least squares to points.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// At nought.
    pub base: f64,
    /// For each more.
    pub each: f64,
}

impl Line {
    /// Through points, of which there must be two different ones.
    pub fn through(points: &[(f64, f64)]) -> Self {
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|p| p.0), mean(|p| p.1));
        let above: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
        let below: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
        let each = above / below;
        Self {
            base: y - each * x,
            each,
        }
    }

    /// Where it is.
    pub fn at(self, x: f64) -> f64 {
        self.base + self.each * x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_of_few_and_many() {
        for (given, median) in [(vec![3], 3.0), (vec![9, 1, 2], 2.0), (vec![4, 1, 3, 2], 2.5)] {
            let mut figures = Figures::default();
            given
                .into_iter()
                .for_each(|s| figures.add(Duration::from_secs(s)));
            assert!((figures.median() - median).abs() < 1e-9);
        }
    }

    #[test]
    fn a_line_goes_through_points_that_lie_on_one_and_between_those_that_do_not() {
        let line = Line::through(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]);
        assert!((line.base - 3.0).abs() < 1e-9 && (line.each - 2.0).abs() < 1e-9);
        assert!((line.at(10.0) - 23.0).abs() < 1e-9);
        let between = Line::through(&[(0.0, 0.0), (0.0, 2.0), (1.0, 1.0), (1.0, 3.0)]);
        assert!((between.base - 1.0).abs() < 1e-9 && (between.each - 1.0).abs() < 1e-9);
    }
}
