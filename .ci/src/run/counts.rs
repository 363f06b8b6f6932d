//! Numbers of tests that passed and failed, and how cargo reports them.

/// Tests that passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed, and what could not run.
    pub failed: usize,
}

/// A step that is one check and not a suite.
pub const ONE: Counts = Counts {
    passed: 1,
    failed: 0,
};

impl Counts {
    /// Adds the counts of another part.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Reads a line that the test runner prints at the end of each binary, such as
    /// `test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; ...`.
    ///
    /// An ignored test counts as failed: what does not run proves nothing.
    pub fn of_line(line: &str) -> Option<Self> {
        let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let mut counts = Self::default();
        for part in numbers.split("; ") {
            let (number, word) = part.split_once(' ')?;
            let number = number.parse::<usize>();
            match (number, word) {
                (Ok(number), "passed") => counts.passed += number,
                (Ok(number), "failed" | "ignored") => counts.failed += number,
                _ => {}
            }
        }
        Some(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    const LINE: &str = "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; \
                        7 filtered out; finished in 0.05s";

    #[test]
    fn a_result_line_is_counted_and_ignored_tests_fail() {
        assert_eq!(
            Counts::of_line(LINE),
            Some(Counts {
                passed: 12,
                failed: 3
            })
        );
    }

    #[test]
    fn other_lines_are_no_results() {
        for line in ["", "test a ... ok", "running 3 tests", "test result: odd"] {
            assert_eq!(Counts::of_line(line), None, "{line}");
        }
    }
}
