//! Holds the repository to its rules: one test for each check.

use interlink_ci::checks::{Violation, ALL};
use interlink_ci::repository::Repository;

/// Fails with every violation of the check with this name.
fn holds(name: &str) {
    let repository = Repository::open().expect("a clone of the repository");
    let check = ALL
        .iter()
        .find(|check| check.name == name)
        .expect("a check of this name");
    let violations = (check.find)(&repository).expect("the check can look");
    let lines: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} violations of '{name}':\n{}",
        lines.len(),
        lines.join("\n")
    );
}

/// Defines a test for each check, and one that no check is left out.
macro_rules! tests_of_checks {
    ($($test:ident => $name:literal,)*) => {
        $(#[test]
        fn $test() {
            holds($name);
        })*

        #[test]
        fn every_check_is_a_test() {
            let tested = [$($name),*];
            let all = ALL.map(|check| check.name);
            assert_eq!(tested, all);
        }
    };
}

tests_of_checks! {
    files_are_short => "file length",
    functions_are_short => "function length",
    lines_are_short => "line length",
    modules_open_with_their_purpose => "module documents",
    module_folders_are_complete => "module folders",
    names_say_something => "names",
    nothing_unfinished_stays => "left-overs",
    no_judge_is_switched_off => "attributes",
    unsafe_code_stands_where_it_is_expected => "unsafe code",
    layers_do_not_name_runtimes => "runtimes in sources",
    pure_crates_reach_no_runtime => "runtimes in dependencies",
    crates_depend_downwards => "dependency direction",
    one_library_does_the_cryptography => "cryptography",
    schemas_have_no_unread_fields => "schemas",
    the_top_level_is_the_layout => "layout",
    paths_in_documents_exist => "paths in documents",
    nothing_ties_to_one_machine => "strangers",
    packages_come_from_the_public_registry => "package sources",
    commits_have_subjects => "commits",
}
