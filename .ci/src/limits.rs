//! The numbers of `.ci/STYLE.md`, each with its reason.

use std::time::Duration;

/// Lines of a program file, tests included: what a reader holds in one sitting.
pub const FILE_LINES_MAX: usize = 500;

/// Lines of a function from `fn` to its closing brace: one screen.
pub const FUNCTION_LINES_MAX: usize = 70;

/// Columns of a line of Rust: two files fit side by side. rustfmt leaves long comments and
/// literals alone, so this is checked again.
pub const LINE_COLUMNS_MAX: usize = 100;

/// Characters of a commit's subject: `git log --oneline` shows it whole.
pub const COMMIT_SUBJECT_MAX: usize = 72;

/// Time of one step: twice what the slowest takes on two cores, so that only a hang meets it.
pub const STEP_TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// Time that all of `.ci/run` may take on two cores with a cold build.
pub const RUN_TIME_MAX: Duration = Duration::from_secs(25 * 60);

/// Time in which a server of a test must listen; a start takes well below a second.
pub const SERVER_START_MAX: Duration = Duration::from_secs(20);

/// Autobahn cases without the groups 12 and 13, which test compression that is not offered.
pub const AUTOBAHN_CASES: usize = 301;

/// Cases in which the behaviour is allowed but not the strictest one.
pub const AUTOBAHN_NON_STRICT_MAX: usize = 4;

const _: () = assert!(STEP_TIME_MAX.as_secs() < RUN_TIME_MAX.as_secs());
