//! Values of repeated runs and what is said about them.
//!
//! Invariant: the median is the gated value; minimum and maximum stand beside it as the noise.
//!
//! Runs on: the bench's main thread.

/// The same quantity measured in several runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    values: Vec<f64>,
}

impl Series {
    /// Adds the value of one run; a value that is not finite is dropped.
    pub fn push(&mut self, value: f64) {
        if value.is_finite() {
            self.values.push(value);
        }
    }

    /// Values in the order of the runs.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Middle value; of an even number the mean of the two in the middle; NaN of none.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Smallest value; NaN of none.
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// Largest value; NaN of none.
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    fn quantile(&self, fraction: f64) -> f64 {
        if self.values.is_empty() {
            return f64::NAN;
        }
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let place = fraction * (sorted.len() - 1) as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut series = Series::default();
        values.into_iter().for_each(|value| series.push(value));
        series
    }
}

/// Ratio of two quantities, run by run: adjacent runs share the machine's mood, so the ratio of
/// neighbours is steadier than the ratio of medians.
pub fn paired_ratio(subject: &Series, reference: &Series) -> Series {
    subject
        .values()
        .iter()
        .zip(reference.values())
        .filter(|(_, reference)| **reference != 0.0)
        .map(|(subject, reference)| subject / reference)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn median_of_even_and_odd_counts() {
        assert_eq!(Series::from_iter([3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Series::from_iter([4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert!(Series::default().median().is_nan());
    }

    #[test]
    fn ratio_is_taken_of_neighbours() {
        let edge = Series::from_iter([2.0, 6.0, 9.0]);
        let bare = Series::from_iter([1.0, 2.0, 3.0]);
        assert_eq!(paired_ratio(&edge, &bare).values(), &[2.0, 3.0, 3.0]);
    }

    proptest! {
        #[test]
        fn median_lies_between_minimum_and_maximum(
            values in prop::collection::vec(-1e9..1e9, 1..40),
        ) {
            let series = Series::from_iter(values);
            prop_assert!(series.min() <= series.median() && series.median() <= series.max());
        }
    }
}
