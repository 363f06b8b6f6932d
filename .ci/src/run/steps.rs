//! The steps of `.ci/run`.

use super::cargo::{integration_tests, test};
use super::command::{bounded, pass};
use super::counts::{Counts, ONE};
use super::{autobahn, bench, python, stand, Step};

/// Name of the tests of journal images, which a step of their own runs.
const CRASH_IMAGES: &str = "crash_images";

/// Integration tests that steps of their own run.
const OWN_STEPS: [&str; 2] = ["fuzz_corpus", "repository"];

/// Every step in its order: what is quick to know first.
pub const ALL: [Step; 16] = [
    Step {
        title: "format",
        needs_build: false,
        run: format,
    },
    Step {
        title: "build",
        needs_build: false,
        run: build,
    },
    Step {
        title: "lints",
        needs_build: false,
        run: lints,
    },
    Step {
        title: "repository checks",
        needs_build: false,
        run: repository,
    },
    Step {
        title: "generated code",
        needs_build: false,
        run: generated,
    },
    Step {
        title: "test stand and checker",
        needs_build: false,
        run: python::run,
    },
    Step {
        title: "start of the test stand",
        needs_build: true,
        run: stand::up,
    },
    Step {
        title: "unit, model and property tests",
        needs_build: true,
        run: units,
    },
    Step {
        title: "crash images",
        needs_build: true,
        run: crash_images,
    },
    Step {
        title: "fuzz corpus replay",
        needs_build: true,
        run: fuzz_corpus,
    },
    Step {
        title: "integration tests",
        needs_build: true,
        run: integration,
    },
    Step {
        title: "examples in documents",
        needs_build: true,
        run: documents,
    },
    Step {
        title: "end of the test stand",
        needs_build: false,
        run: stand::down,
    },
    Step {
        title: "Autobahn conformance",
        needs_build: true,
        run: autobahn::run,
    },
    Step {
        title: "Autobahn conformance through TLS",
        needs_build: true,
        run: autobahn::run_tls,
    },
    Step {
        title: "bench smoke",
        needs_build: true,
        run: bench::run,
    },
];

fn format() -> anyhow::Result<Counts> {
    pass(bounded("cargo").args(["fmt", "--all", "--check"]))?;
    Ok(ONE)
}

/// Builds everything once; the steps after it use what it made.
pub(super) fn build() -> anyhow::Result<Counts> {
    pass(bounded("cargo").args(["build", "--workspace", "--all-targets", "--locked"]))?;
    Ok(ONE)
}

fn lints() -> anyhow::Result<Counts> {
    let arguments = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    pass(bounded("cargo").args(arguments))?;
    // The client without what is on by default.
    let without = ["check", "-p", "interlink-client", "--no-default-features"];
    pass(bounded("cargo").args(without).arg("--locked"))?;
    Ok(ONE)
}

fn repository() -> anyhow::Result<Counts> {
    test(&["--test", "repository"])
}

fn generated() -> anyhow::Result<Counts> {
    pass(bounded("protocol/schema/generate").arg("--check"))?;
    Ok(ONE)
}

fn units() -> anyhow::Result<Counts> {
    test(&["--lib", "--bins", "--", "--skip", CRASH_IMAGES])
}

fn crash_images() -> anyhow::Result<Counts> {
    test(&["--lib", "--", CRASH_IMAGES])
}

fn fuzz_corpus() -> anyhow::Result<Counts> {
    test(&["--test", "fuzz_corpus"])
}

fn integration() -> anyhow::Result<Counts> {
    let names = integration_tests()?;
    let names = names
        .iter()
        .filter(|name| !OWN_STEPS.contains(&name.as_str()));
    let arguments: Vec<&str> = names.flat_map(|name| ["--test", name.as_str()]).collect();
    test(&arguments)
}

fn documents() -> anyhow::Result<Counts> {
    test(&["--doc"])
}
