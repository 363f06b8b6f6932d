//! What services ask beside publishing: who is present, and more than may be asked at once.

use interlink_edge::gateway::limits::QUESTIONS_MAX;
use interlink_edge::server::Phase;
use interlink_edge::shard::service::questions::Act;
use interlink_protocol::ids::Position;
use interlink_protocol::ErrorCode;

use crate::{on_one_and_two_shards, open, service};

#[test]
fn a_service_reads_who_is_present_where_it_may() {
    on_one_and_two_shards(
        |_| (),
        |node, _| async move {
            let channel = "chat.ada~bob";
            let page = node.gateway.presence(None, channel, None).await.unwrap();
            assert_eq!((page.count, page.members.len(), page.next), (0, 0, None));
            let mut open_ones = Vec::new();
            for user in ["ada", "bob"] {
                let client = node.client(user, &[]).await;
                open_ones.push((open(&client, channel).await, client));
            }
            let names = loop {
                let page = node.gateway.presence(None, channel, None).await.unwrap();
                let names: Vec<String> = page.members.iter().map(|m| m.user.to_string()).collect();
                if page.count == 2 {
                    break names;
                }
            };
            assert_eq!(names, ["ada", "bob"]);
            let behind = node.gateway.presence(None, channel, Some("ada")).await;
            assert_eq!(&*behind.unwrap().members[0].user, "bob");
            let service = service();
            let ask = async |channel: &str| {
                let page = node.gateway.presence(service.as_deref(), channel, None);
                page.await
                    .map(|page| page.count)
                    .map_err(|refusal| refusal.code)
            };
            assert_eq!(ask("class.m1").await, Ok(0), "it may publish there");
            let required = ErrorCode::SubscriptionTokenRequired;
            assert_eq!(ask(channel).await, Err(required));
            assert_eq!(ask("user.ada").await, Err(ErrorCode::PresenceUnavailable));
            node.node.advance(Phase::Draining);
            assert_eq!(ask("class.m1").await, Err(ErrorCode::Draining));
            drop(open_ones);
            node.stop();
        },
    );
}

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
