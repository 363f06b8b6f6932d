//! What services ask beside publishing: more than may be asked at once, and after the end.

use interlink_edge::gateway::limits::QUESTIONS_MAX;
use interlink_edge::shard::service::questions::Act;
use interlink_protocol::ids::Position;
use interlink_protocol::ErrorCode;

use crate::{on_one_and_two_shards, service};

#[test]
fn questions_beyond_their_bound_and_to_a_stopped_node_are_refused() {
    on_one_and_two_shards(
        |_| (),
        |node, _| async move {
            let service = service().expect("claims");
            // All are asked before the first is answered.
            let report = "report.north.day";
            let ask = |_| node.gateway.history(&service, report, Position::ZERO, 1);
            let answers = futures_util::future::join_all((0..=QUESTIONS_MAX).map(ask)).await;
            let (taken, beyond) = answers.split_at(QUESTIONS_MAX);
            assert!(taken.iter().all(Result::is_ok));
            let refused = beyond[0].as_ref().map_err(|refusal| refusal.code);
            assert_eq!(refused.err(), Some(ErrorCode::Overloaded));
            let later = node.gateway.history(&service, report, Position::ZERO, 1);
            assert!(later.await.is_ok(), "the bound is of what is under way");
            let gateway = node.gateway.clone();
            node.stop();
            let act = Act::Unsubscribe("chat.team".into());
            let refused = gateway.order(&service, "ada", act).await;
            let code = refused.map_err(|refusal| refusal.code);
            assert_eq!(code, Err(ErrorCode::Draining));
        },
    );
}
