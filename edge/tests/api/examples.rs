//! The examples that act on users and read channels, as a back end runs them.

use interlink_protocol::CloseCode;

use super::support::raw::Raw;
use super::*;

#[test]
fn the_examples_administer() {
    for (program, file) in [("python3", "administer.py"), ("node", "administer.mjs")] {
        let node = start(2);
        let token = service(&node);
        let ran = |words: &[&str]| {
            let (ended_well, said) = example(&node, program, file, &token, words);
            assert!(ended_well, "{words:?}: {said}");
            said.trim().to_owned()
        };
        let mut ada = Raw::welcomed(node.clients(), &node.token("ada"), 1);
        assert_eq!(ran(&["subscribe", "ada", "chat.team"]), "1");
        assert_eq!(ran(&["channels", "chat."]), "1 chat.team");
        assert_eq!(ran(&["unsubscribe", "ada", "chat.team"]), "1");
        assert_eq!(ran(&["channels"]), "");
        assert_eq!(ran(&["disconnect", "ada", "closed for today"]), "1");
        assert_eq!(ada.close_code(), CloseCode::Disconnected.number());
        assert_eq!(ada.close_reason(), "closed for today");
        let event = |number: u32| json!({"channel": REPORT, "json": {"day": number}});
        let batch = json!({"publishes": (1..=120).map(event).collect::<Vec<_>>()});
        assert_eq!(post(&node, "/v1/batch", &token, &batch).0, 200);
        let said = ran(&["history", REPORT]);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 120);
        for (number, line) in (1..).zip(lines) {
            let tight = line.replace(' ', "");
            assert_eq!(
                tight,
                format!("{number}service:reports{{\"day\":{number}}}")
            );
        }
        assert_eq!(ran(&["revoke", "ada", "bob"]), "2");
        let (ended_well, said) = example(&node, program, file, &token, &["history", "nothing.x"]);
        assert!(
            !ended_well && said.contains("No namespace of this name"),
            "{said}"
        );
    }
}
