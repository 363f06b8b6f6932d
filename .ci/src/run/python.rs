//! Tests of the programs in Python: the test stand and the checker.

use anyhow::ensure;

use super::command::{bounded, each_line};
use super::counts::Counts;

/// Folders with tests of Python's unittest.
const FOLDERS: [&str; 2] = ["bench/checker/tests", "deploy/stand/tests"];

/// Runs all of them and counts.
///
/// # Errors
/// When Python does not start, or a folder has no tests.
pub fn run() -> anyhow::Result<Counts> {
    let mut all = Counts::default();
    for folder in FOLDERS {
        all.add(of_folder(folder)?);
    }
    Ok(all)
}

/// Runs the tests of one folder.
fn of_folder(folder: &str) -> anyhow::Result<Counts> {
    let mut command = bounded("sh");
    // unittest reports on standard error, and what tests print belongs between its lines.
    let script = "exec python3 -B -m unittest discover --buffer --start-directory \"$0\" 2>&1";
    command.args(["-c", script, folder]);
    let mut ran = None;
    let mut failed = None;
    let succeeded = each_line(&mut command, |line| {
        ran = number_of_tests(line).or(ran);
        failed = number_that_failed(line).or(failed);
        println!("    {line}");
    })?;
    let ran = ran.unwrap_or(0);
    ensure!(ran > 0, "{folder} ran no test; it was renamed or removed");
    let failed = match (succeeded, failed) {
        (true, Some(failed)) => failed,
        (_, failed) => failed.unwrap_or(0).max(1),
    };
    Ok(Counts {
        passed: ran.saturating_sub(failed),
        failed,
    })
}

/// Reads `Ran 63 tests in 8.314s`.
fn number_of_tests(line: &str) -> Option<usize> {
    let (number, rest) = line.strip_prefix("Ran ")?.split_once(' ')?;
    rest.starts_with("test").then(|| number.parse().ok())?
}

/// Reads the last line, such as `OK`, `OK (skipped=1)` or `FAILED (failures=1, errors=2)`.
///
/// A skipped test counts as failed: what does not run proves nothing.
fn number_that_failed(line: &str) -> Option<usize> {
    let rest = line
        .strip_prefix("OK")
        .or_else(|| line.strip_prefix("FAILED"))?;
    if rest.is_empty() {
        return Some(0);
    }
    let parts = rest.strip_prefix(" (")?.strip_suffix(')')?.split(", ");
    let numbers = parts.map(|part| part.split_once('=')?.1.parse::<usize>().ok());
    numbers.sum()
}

#[cfg(test)]
mod tests {
    use super::{number_of_tests, number_that_failed};

    #[test]
    fn the_number_of_tests_is_read() {
        assert_eq!(number_of_tests("Ran 63 tests in 8.314s"), Some(63));
        assert_eq!(number_of_tests("Ran 1 test in 0.001s"), Some(1));
        for line in ["", "Ran away", "Ran 3 times", "test Ran 3 tests"] {
            assert_eq!(number_of_tests(line), None, "{line}");
        }
    }

    #[test]
    fn failures_errors_and_skipped_tests_fail() {
        assert_eq!(number_that_failed("OK"), Some(0));
        assert_eq!(number_that_failed("OK (skipped=2)"), Some(2));
        assert_eq!(number_that_failed("FAILED (failures=1, errors=2)"), Some(3));
        for line in ["", "OKAY", "ok", "FAILED: x", "OK (strange)"] {
            assert_eq!(number_that_failed(line), None, "{line}");
        }
    }
}
