//! Behaviour of the wanted subscriptions.

use super::*;
use crate::event::GapReason;

fn at(offset: u64) -> Position {
    Position {
        epoch: 1,
        offset,
        chain: offset,
    }
}

fn name(channel: &str) -> Arc<str> {
    channel.into()
}

fn wanted(channels: &[(&str, Priority)]) -> SubscriptionBook {
    let mut book = SubscriptionBook::default();
    for (channel, class) in channels {
        let options = SubscribeOptions::default();
        book.want(&name(channel), *class, options).unwrap();
    }
    book
}

fn by_token(channel: &str) -> SubscriptionBook {
    let mut book = SubscriptionBook::default();
    let options = SubscribeOptions {
        token: Some("token".into()),
        ..SubscribeOptions::default()
    };
    book.want(&name(channel), Priority::P1, options).unwrap();
    book
}

fn ask(book: &mut SubscriptionBook, request: u32) -> Vec<Ask> {
    let mut asks = Vec::new();
    book.take_wanted(request, 0, &mut asks);
    asks
}

fn leaving(book: &mut SubscriptionBook) -> Vec<String> {
    let mut channels = Vec::new();
    book.take_leaving(&mut channels);
    channels.iter().map(|channel| channel.to_string()).collect()
}

fn recovery(recovered: bool, following: u32) -> Recovery {
    Recovery {
        recovered,
        reason: match recovered {
            true => GapReason::None,
            false => GapReason::Retention,
        },
        following,
        history_from: None,
        retry_after: None,
    }
}

fn live(offset: u64, recovery: Recovery) -> ChannelAnswer {
    ChannelAnswer::Live {
        position: Some(at(offset)),
        recovery,
    }
}

/// The answer to a request without a position.
fn plain_live(offset: u64) -> ChannelAnswer {
    let not_wanted = Recovery {
        reason: GapReason::None,
        ..recovery(false, 0)
    };
    live(offset, not_wanted)
}

fn event(book: &mut SubscriptionBook, channel: &str, offset: u64) -> Option<Verdict> {
    let record = RecordId(u128::from(offset));
    let judged = book.on_event(channel, at(offset), offset - 1, record);
    judged.map(|(_, verdict)| verdict)
}

#[test]
fn a_channel_is_wanted_once_and_their_number_is_bounded() {
    let mut book = wanted(&[("chat.a~b", Priority::P1)]);
    let again = book.want(&name("chat.a~b"), Priority::P1, SubscribeOptions::default());
    assert!(matches!(again, Err(Error::AlreadySubscribed(_))));
    book.on_limit(1);
    let second = book.want(&name("chat.a~c"), Priority::P1, SubscribeOptions::default());
    assert_eq!(second, Err(Error::TooManySubscriptions(1)));
}

#[test]
fn requests_are_bounded_and_most_urgent_channels_go_first() {
    let mut book = SubscriptionBook::default();
    for index in 0..limits::CHANNELS_PER_REQUEST_MAX {
        let channel = format!("chat.{index:03}");
        let options = SubscribeOptions::default();
        book.want(&name(&channel), Priority::P1, options).unwrap();
    }
    book.want(
        &name("alert.ada"),
        Priority::P0,
        SubscribeOptions::default(),
    )
    .unwrap();
    let first = ask(&mut book, 1);
    assert_eq!(first.len(), limits::CHANNELS_PER_REQUEST_MAX);
    assert_eq!(&*first[0].channel, "alert.ada");
    assert_eq!(ask(&mut book, 2).len(), 1);
    assert!(!book.has_requests(0));
}

#[test]
fn open_requests_are_bounded() {
    let mut book = SubscriptionBook::default();
    for request in 0..limits::SUBSCRIBES_IN_FLIGHT_MAX as u32 {
        let channel = format!("chat.{request}");
        book.want(&name(&channel), Priority::P1, SubscribeOptions::default())
            .unwrap();
        assert_eq!(ask(&mut book, request).len(), 1);
    }
    book.want(
        &name("chat.last"),
        Priority::P1,
        SubscribeOptions::default(),
    )
    .unwrap();
    assert!(!book.has_requests(0));
    book.close_request(0);
    assert!(book.has_requests(0));
}

#[test]
fn a_start_that_the_server_chose_is_told() {
    for chosen in [recovery(true, 2), recovery(true, 0), recovery(false, 0)] {
        let mut book = wanted(&[("user.ada", Priority::P1)]);
        assert_eq!(ask(&mut book, 1)[0].recover, None);
        let answer = live(3, chosen);
        let outcome = book.on_answer(1, "user.ada", answer, 0, 0);
        let expected = Outcome::Live {
            first: true,
            recovery: Some(chosen),
        };
        assert_eq!(outcome, expected);
        assert_eq!(event(&mut book, "user.ada", 4), Some(Verdict::Deliver));
    }
}

#[test]
fn events_count_only_while_the_latest_request_is_answered() {
    let mut book = wanted(&[("chat.a~b", Priority::P1)]);
    ask(&mut book, 1);
    assert_eq!(event(&mut book, "chat.a~b", 4), None);
    let outcome = book.on_answer(1, "chat.a~b", plain_live(3), 0, 0);
    let expected = Outcome::Live {
        first: true,
        recovery: None,
    };
    assert_eq!(outcome, expected);
    assert_eq!(event(&mut book, "chat.a~b", 4), Some(Verdict::Deliver));

    assert!(book.unwant("chat.a~b"));
    book.want(&name("chat.a~b"), Priority::P1, SubscribeOptions::default())
        .unwrap();
    assert_eq!(leaving(&mut book), ["chat.a~b"]);
    ask(&mut book, 3);
    assert_eq!(
        event(&mut book, "chat.a~b", 5),
        None,
        "of the ended subscription"
    );
    let ended = ChannelAnswer::Ended { code: 0 };
    assert_eq!(book.on_answer(2, "chat.a~b", ended, 0, 0), Outcome::Nothing);
    book.on_answer(3, "chat.a~b", plain_live(5), 0, 0);
    assert_eq!(event(&mut book, "chat.a~b", 6), Some(Verdict::Deliver));
}

#[test]
fn after_a_loss_each_channel_is_asked_for_from_where_it_was() {
    let mut book = wanted(&[("chat.a~b", Priority::P1)]);
    ask(&mut book, 1);
    book.on_answer(1, "chat.a~b", plain_live(3), 0, 0);
    event(&mut book, "chat.a~b", 4);
    book.on_lost();
    assert_eq!(
        book.resume_positions(),
        Some(vec![(name("chat.a~b"), at(4))])
    );
    assert_eq!(ask(&mut book, 1)[0].recover, Some(at(4)));
    let outcome = book.on_answer(1, "chat.a~b", live(9, recovery(true, 5)), 0, 0);
    let expected = Outcome::Live {
        first: false,
        recovery: Some(recovery(true, 5)),
    };
    assert_eq!(outcome, expected);
    assert_eq!(event(&mut book, "chat.a~b", 5), Some(Verdict::Deliver));
}

#[test]
fn a_failed_recovery_is_reported_and_continues_where_the_server_is() {
    let mut book = SubscriptionBook::default();
    let options = SubscribeOptions {
        recover: Some(at(2)),
        ..SubscribeOptions::default()
    };
    book.want(&name("chat.a~b"), Priority::P1, options).unwrap();
    assert_eq!(ask(&mut book, 1)[0].recover, Some(at(2)));
    let outcome = book.on_answer(1, "chat.a~b", live(50, recovery(false, 0)), 0, 0);
    let expected = Outcome::Live {
        first: true,
        recovery: Some(recovery(false, 0)),
    };
    assert_eq!(outcome, expected);
    assert_eq!(event(&mut book, "chat.a~b", 51), Some(Verdict::Deliver));
}

#[test]
fn a_start_that_the_server_chose_is_learnt_from_the_first_event() {
    let mut book = wanted(&[("user.ada", Priority::P1)]);
    ask(&mut book, 1);
    book.on_answer(1, "user.ada", live(9, recovery(true, 3)), 0, 0);
    assert_eq!(event(&mut book, "user.ada", 7), Some(Verdict::Deliver));
    assert_eq!(event(&mut book, "user.ada", 9), {
        Some(Verdict::DeliverAfterGap {
            skipped: 1,
            reason: GapReason::Unannounced,
        })
    });
}

#[test]
fn a_temporary_refusal_is_asked_again_later() {
    let mut book = wanted(&[("chat.a~b", Priority::P1)]);
    ask(&mut book, 1);
    let refused = ChannelAnswer::Refused {
        code: ErrorCode::RateLimited.number(),
        retry_after_ms: 700,
    };
    assert_eq!(
        book.on_answer(1, "chat.a~b", refused, 100, 0),
        Outcome::Nothing
    );
    assert!(!book.has_requests(799));
    assert_eq!(book.deadline_ms(100), Some(800));
    assert!(book.has_requests(800));
}

#[test]
fn a_final_refusal_ends_the_subscription() {
    let mut book = wanted(&[("chat.a~b", Priority::P1)]);
    ask(&mut book, 1);
    let refused = ChannelAnswer::Refused {
        code: ErrorCode::NotPermitted.number(),
        retry_after_ms: 0,
    };
    let outcome = book.on_answer(1, "chat.a~b", refused, 0, 0);
    assert!(matches!(outcome, Outcome::Over { first: true, .. }));
    assert!(!book.unwant("chat.a~b"));
}

#[test]
fn a_live_subscription_that_the_server_ends_is_over() {
    let mut book = wanted(&[("chat.a~b", Priority::P1)]);
    ask(&mut book, 1);
    book.on_answer(1, "chat.a~b", plain_live(0), 0, 0);
    let ended = ChannelAnswer::Ended { code: 0 };
    let outcome = book.on_answer(77, "chat.a~b", ended, 0, 0);
    assert!(matches!(outcome, Outcome::Over { first: false, .. }));
}

#[test]
fn an_older_subscription_of_the_session_is_ended_and_asked_again() {
    let mut book = wanted(&[("chat.a~b", Priority::P1)]);
    ask(&mut book, 1);
    let refused = ChannelAnswer::Refused {
        code: ErrorCode::AlreadySubscribed.number(),
        retry_after_ms: 0,
    };
    assert_eq!(
        book.on_answer(1, "chat.a~b", refused, 0, 0),
        Outcome::Nothing
    );
    assert_eq!(leaving(&mut book), ["chat.a~b"]);
    book.close_request(1);
    assert_eq!(ask(&mut book, 3).len(), 1);
}

#[test]
fn a_paused_channel_takes_nothing_and_continues_from_where_it_stopped() {
    let mut book = wanted(&[("chat.a~b", Priority::P1)]);
    ask(&mut book, 1);
    book.on_answer(1, "chat.a~b", plain_live(0), 0, 0);
    event(&mut book, "chat.a~b", 1);
    book.pause("chat.a~b");
    assert_eq!(leaving(&mut book), ["chat.a~b"]);
    assert_eq!(event(&mut book, "chat.a~b", 2), None);
    book.on_lost();
    assert_eq!(ask(&mut book, 1), [], "still paused after a loss");
    book.proceed("chat.a~b");
    assert_eq!(ask(&mut book, 2)[0].recover, Some(at(1)));
}

#[test]
fn a_lagging_subscription_by_token_keeps_its_grant_and_continues_from_where_it_stopped() {
    let mut book = by_token("collab.paper");
    assert!(book.awaits_grant("collab.paper"));
    ask(&mut book, 1);
    assert!(book.awaits_grant("collab.paper"), "asked is not granted");
    book.on_answer(1, "collab.paper", plain_live(0), 0, 0);
    event(&mut book, "collab.paper", 1);
    book.pause("collab.paper");
    assert_eq!(leaving(&mut book), [""; 0]);
    assert!(!book.awaits_grant("collab.paper"));
    assert_eq!(event(&mut book, "collab.paper", 2), None);
    assert_eq!(book.on_position("collab.paper", at(2)), None);
    book.proceed("collab.paper");
    assert!(book.awaits_grant("collab.paper"), "the old one ends first");
    assert_eq!(leaving(&mut book), ["collab.paper"]);
    assert_eq!(ask(&mut book, 2)[0].recover, Some(at(1)));
    let outcome = book.on_answer(2, "collab.paper", live(1, recovery(true, 1)), 0, 0);
    assert!(matches!(outcome, Outcome::Live { first: false, .. }));
    assert!(!book.awaits_grant("collab.paper"));
    let next = event(&mut book, "collab.paper", 2);
    assert_eq!(next, Some(Verdict::Deliver));
}

#[test]
fn a_grant_is_asked_for_after_a_loss_also_while_the_subscriber_lags() {
    let mut book = by_token("collab.paper");
    ask(&mut book, 1);
    book.on_answer(1, "collab.paper", plain_live(3), 0, 0);
    book.pause("collab.paper");
    book.on_lost();
    assert!(book.awaits_grant("collab.paper"));
    assert_eq!(book.resume_positions(), Some(vec![]));
    let asks = ask(&mut book, 1);
    assert_eq!((asks.len(), asks[0].recover), (1, None));
    let silent = Outcome::Live {
        first: false,
        recovery: None,
    };
    let outcome = book.on_answer(1, "collab.paper", live(9, recovery(true, 0)), 0, 0);
    assert_eq!(outcome, silent);
    assert_eq!(book.position("collab.paper"), Some(at(3)));
    // The same when the session still has it.
    book.on_lost();
    book.resume_positions();
    let outcome = book.on_restored("collab.paper", at(9), recovery(false, 0));
    assert_eq!(outcome, silent);
    assert!(!book.awaits_grant("collab.paper"));
    book.proceed("collab.paper");
    assert_eq!(leaving(&mut book), ["collab.paper"]);
    assert_eq!(ask(&mut book, 2)[0].recover, Some(at(3)));
}

#[test]
fn what_a_resumed_session_still_has_is_matched_with_what_is_wanted() {
    let mut book = wanted(&[("chat.a~b", Priority::P1), ("chat.a~c", Priority::P1)]);
    ask(&mut book, 1);
    book.on_answer(1, "chat.a~b", plain_live(3), 0, 0);
    book.on_answer(1, "chat.a~c", plain_live(0), 0, 0);
    book.on_lost();
    book.resume_positions();
    let outcome = book.on_restored("chat.a~b", at(8), recovery(true, 5));
    assert!(matches!(outcome, Outcome::Live { first: false, .. }));
    book.on_restored("chat.gone", at(1), recovery(true, 0));
    assert_eq!(leaving(&mut book), ["chat.gone"]);
    assert_eq!(event(&mut book, "chat.a~b", 4), Some(Verdict::Deliver));
    let asks = ask(&mut book, 2);
    assert_eq!(asks.len(), 1, "only what the session did not restore");
    assert_eq!(&*asks[0].channel, "chat.a~c");
}

#[test]
fn a_restored_channel_whose_position_was_not_offered_is_asked_for_anew() {
    let mut book = wanted(&[("chat.a~b", Priority::P1)]);
    ask(&mut book, 1);
    book.on_answer(1, "chat.a~b", plain_live(3), 0, 0);
    book.pause("chat.a~b");
    book.on_lost();
    assert_eq!(book.resume_positions(), Some(vec![]));
    book.proceed("chat.a~b");
    let outcome = book.on_restored("chat.a~b", at(8), recovery(false, 0));
    assert_eq!(outcome, Outcome::Nothing);
    assert_eq!(leaving(&mut book), ["chat.a~b"]);
    assert_eq!(ask(&mut book, 2)[0].recover, Some(at(3)));
}
