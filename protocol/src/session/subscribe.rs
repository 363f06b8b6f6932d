//! Subscriptions: who may have one, and where one stands.
//!
//! A subscription is first pinned by the owner of its channel: from then on every event after
//! the pinned position is known to reach it. Only then the client is told, and what it missed is
//! delivered before anything live.
//! Runs on: the home thread of the user; one byte a subscription.

use interlink_wire as wire;

use crate::channel::ChannelName;
use crate::claims::ClaimsView;
use crate::limits;
use crate::namespace::{permit_subscribe, NamespaceId, Namespaces};
use crate::transitions;
use crate::ErrorCode;

transitions! {
    /// Where a subscription stands.
    pub states SubscriptionState {
        /// The owner of the channel was asked to pin it.
        Requested,
        /// It has a position; the client was not told yet.
        Pinned,
        /// Past events are being delivered; live ones wait in the log.
        Recovering,
        /// Events are delivered as they come.
        Live,
        /// The log has overtaken it; events come from the history until it has caught up.
        Behind,
        /// It is gone.
        Ended,
    }
    /// What happens to a subscription.
    events SubscriptionEvent {
        /// The owner has pinned it.
        PinSet,
        /// The client was told and nothing is to be recovered.
        AnsweredLive,
        /// The client was told and past events follow.
        AnsweredRecovering,
        /// Everything up to the log's own events was delivered.
        CaughtUp,
        /// The log dropped events that were not delivered.
        Overrun,
        /// The owner pinned it again after a gap between the two; the position stays.
        GapFound,
        /// The client, a permission or the owner ended it.
        End,
    }
    PinSet(Requested => Pinned);
    AnsweredLive(Pinned => Live);
    AnsweredRecovering(Pinned => Recovering);
    CaughtUp(Recovering | Behind => Live);
    Overrun(Recovering | Live | Behind => Behind);
    GapFound(Live | Recovering | Behind => Behind);
    End(Requested | Pinned | Recovering | Live | Behind => Ended);
}

impl SubscriptionState {
    /// True when events come from the log as they are published.
    pub const fn takes_live_events(self) -> bool {
        matches!(self, Self::Live)
    }

    /// True when an event of the channel may be sent at all.
    pub const fn takes_events(self) -> bool {
        matches!(self, Self::Live | Self::Recovering | Self::Behind)
    }
}

/// A subscription that may be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscribeDecision<'a> {
    /// The channel.
    pub channel: ChannelName<'a>,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// True when presence changes are wanted, too.
    pub presence: bool,
}

/// Decides one channel of a `Subscribe`.
///
/// `subscriptions` is how many the session has. `granted` is asked only when the namespace
/// accepts tokens and one was sent; it verifies the token for exactly this channel and user, and
/// its error is the answer.
pub fn check_subscribe<'a>(
    wanted: &wire::SubscribeChannel<'a>,
    namespaces: &Namespaces,
    claims: &dyn ClaimsView,
    subscriptions: usize,
    granted: impl FnOnce(&str) -> Result<(), ErrorCode>,
) -> Result<SubscribeDecision<'a>, ErrorCode> {
    let channel = ChannelName::parse(wanted.channel()).map_err(|_| ErrorCode::ChannelInvalid)?;
    let namespace = namespaces
        .find(&channel)
        .ok_or(ErrorCode::NamespaceUnknown)?;
    let policy = namespaces.get(namespace);
    if wanted.presence() && !policy.presence {
        return Err(ErrorCode::PresenceUnavailable);
    }
    if subscriptions >= limits::SUBSCRIPTIONS_PER_SESSION {
        return Err(ErrorCode::TooManySubscriptions);
    }
    // Membership first: a member with a stale token of a group is still a member.
    if let Err(refusal) = permit_subscribe(policy, &channel, claims, false) {
        match wanted.token() {
            Some(token) if policy.subscribe.token => {
                if token.len() > limits::SUBSCRIPTION_TOKEN_BYTES {
                    return Err(ErrorCode::SubscriptionTokenInvalid);
                }
                granted(token)?;
                permit_subscribe(policy, &channel, claims, true)?;
            }
            _ => return Err(refusal),
        }
    }
    Ok(SubscribeDecision {
        channel,
        namespace,
        presence: wanted.presence(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::Claims;
    use crate::frame::{decode_client, ClientFrame, FrameEncoder, FrameLimits, SubscribeFields};

    type Answer = Result<(), ErrorCode>;

    fn check(fields: SubscribeFields<'_>, count: usize, token: Answer) -> Answer {
        let claims = Claims {
            user: "ada".into(),
            ..Claims::default()
        };
        let mut encoder = FrameEncoder::new();
        let frame = encoder.subscribe(1, &[fields]);
        let Ok(ClientFrame::Subscribe(frame)) = decode_client(frame, &FrameLimits::CLIENT) else {
            panic!("not a subscribe");
        };
        let wanted = frame.channels().get(0);
        let namespaces = Namespaces::defaults();
        check_subscribe(&wanted, &namespaces, &claims, count, |_| token).map(drop)
    }

    fn fields<'a>(channel: &'a str, token: Option<&'a str>) -> SubscribeFields<'a> {
        SubscribeFields {
            token,
            ..SubscribeFields::new(channel)
        }
    }

    #[test]
    fn a_named_user_needs_no_token() {
        let bad = Err(ErrorCode::SubscriptionTokenInvalid);
        assert_eq!(check(fields("chat.ada~bob", None), 0, bad), Ok(()));
        assert_eq!(check(fields("chat.ada~bob", Some("stale")), 0, bad), Ok(()));
    }

    #[test]
    fn a_token_opens_the_channel_that_it_was_verified_for() {
        let bad = Err(ErrorCode::SubscriptionTokenInvalid);
        let none = Err(ErrorCode::SubscriptionTokenRequired);
        assert_eq!(check(fields("chat.club", None), 0, Ok(())), none);
        assert_eq!(check(fields("chat.club", Some("good")), 0, Ok(())), Ok(()));
        assert_eq!(check(fields("chat.club", Some("bad")), 0, bad), bad);
        let long = "t".repeat(limits::SUBSCRIPTION_TOKEN_BYTES + 1);
        assert_eq!(check(fields("chat.club", Some(&long)), 0, Ok(())), bad);
        let user = check(fields("user.bob", Some("good")), 0, Ok(()));
        assert_eq!(
            user,
            Err(ErrorCode::NotPermitted),
            "a token is no key to an inbox"
        );
    }

    #[test]
    fn requests_that_cannot_be_served_name_the_reason() {
        let ask = |channel, count| check(fields(channel, None), count, Ok(()));
        assert_eq!(ask("nothing", 0), Err(ErrorCode::ChannelInvalid));
        assert_eq!(ask("nobody.x", 0), Err(ErrorCode::NamespaceUnknown));
        let most = limits::SUBSCRIPTIONS_PER_SESSION;
        assert_eq!(ask("user.ada", most - 1), Ok(()));
        assert_eq!(ask("user.ada", most), Err(ErrorCode::TooManySubscriptions));
        let presence = SubscribeFields {
            presence: true,
            ..SubscribeFields::new("user.ada")
        };
        assert_eq!(
            check(presence, 0, Ok(())),
            Err(ErrorCode::PresenceUnavailable)
        );
        let presence = SubscribeFields {
            presence: true,
            ..SubscribeFields::new("chat.ada~b")
        };
        assert_eq!(check(presence, 0, Ok(())), Ok(()));
    }

    #[test]
    fn nothing_is_delivered_before_the_client_knows_the_position() {
        use SubscriptionEvent::{AnsweredLive, CaughtUp, Overrun, PinSet};
        let mut state = SubscriptionState::default();
        assert!(state.apply(AnsweredLive).is_err());
        assert_eq!(state.apply(PinSet), Ok(SubscriptionState::Pinned));
        assert!(!state.takes_events());
        assert!(state.apply(Overrun).is_err(), "a pin keeps its events");
        assert_eq!(state.apply(AnsweredLive), Ok(SubscriptionState::Live));
        assert_eq!(state.apply(Overrun), Ok(SubscriptionState::Behind));
        assert!(state.takes_events() && !state.takes_live_events());
        assert_eq!(state.apply(CaughtUp), Ok(SubscriptionState::Live));
    }
}
