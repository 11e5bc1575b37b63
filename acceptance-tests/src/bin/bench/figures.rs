//! Medians of what was measured.

use std::time::Duration;

/// Measurements of one thing.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    /// Adds a measurement, in seconds.
    pub fn add(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64());
    }

    /// The median, in seconds.
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
}
