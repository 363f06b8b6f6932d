//! Attacks by single WebSocket frames: wrong masks, endless fragments, slow messages.

use std::time::{Duration, Instant};

use interlink_protocol::websocket::{ControlKind, DataKind, Opcode};
use interlink_protocol::CloseCode;

use super::siege::Siege;
use super::support::raw::{data_frame, Incoming, Raw};
use super::{pour, welcomed};

/// Pause of a slow client between two bytes.
const TRICKLE: Duration = Duration::from_millis(5);

/// A frame of a message that goes on.
fn fragment(is_first: bool, payload: &[u8]) -> Vec<u8> {
    let opcode = match is_first {
        true => Opcode::Data(DataKind::Binary),
        false => Opcode::Continuation,
    };
    data_frame(opcode, false, payload)
}

#[test]
fn unmasked_frames_are_closed_with_protocol_error() {
    let mut siege = Siege::lay("unmasked frames", "");
    let flood = [0x82, 3, 1, 2, 3].repeat(10_000);
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        // The server need not take what follows the first frame.
        pour(&mut raw, &flood);
        assert_eq!(raw.close_code(), CloseCode::ProtocolError.number());
    });
    siege.lift();
}

#[test]
fn endless_empty_fragments_are_closed_with_policy_violation() {
    let mut siege = Siege::lay("empty fragments", "");
    let mut flood = fragment(true, b"");
    flood.extend(fragment(false, b"").repeat(10_000));
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        pour(&mut raw, &flood);
        assert_eq!(raw.close_code(), CloseCode::PolicyViolation.number());
    });
    siege.lift();
}

#[test]
fn fragments_beyond_the_message_bound_are_closed_with_message_too_big() {
    let mut siege = Siege::lay("large fragments", "");
    let mut flood = fragment(true, &[7; 1_000]);
    flood.extend(fragment(false, &[7; 1_000]).repeat(100));
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        pour(&mut raw, &flood);
        assert_eq!(raw.close_code(), CloseCode::MessageTooBig.number());
    });
    siege.lift();
}

#[test]
fn text_is_closed_with_unsupported_data() {
    let mut siege = Siege::lay("text", "");
    let text = data_frame(Opcode::Data(DataKind::Text), true, b"{\"hello\": 1}");
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        raw.send(&text);
        assert_eq!(raw.close_code(), CloseCode::UnsupportedData.number());
    });
    siege.lift();
}

/// Half-sent messages that together are larger than what the shard may hold of them.
#[test]
fn half_sent_messages_beyond_the_budget_are_closed_with_overloaded() {
    const ATTACKERS: usize = 60;
    let mut siege = Siege::lay("half-sent messages", "");
    // Each may hold 64 KiB; the budget is 2 MiB.
    let mut half = data_frame(Opcode::Data(DataKind::Binary), true, &[7; 60_000]);
    half.truncate(half.len() - 1);
    let mut attackers: Vec<Raw> = Vec::new();
    for number in 0..ATTACKERS {
        attackers.push(welcomed(&siege.node, &format!("mallory{number}")));
    }
    for raw in &mut attackers {
        raw.send(&half);
    }
    siege.attack(|_| ());
    let held = siege.node.metric("interlink_edge_partial_bytes");
    assert!(
        held.is_some_and(|held| held <= f64::from(2 << 20)),
        "{held:?}"
    );
    // Who found room may end its message; the others were told.
    let (mut refused, mut heard) = (0, 0);
    for mut raw in attackers {
        let _ = raw.try_send(&[0]);
        let code = raw.close_code();
        if code == CloseCode::Overloaded.number() {
            refused += 1;
        } else {
            assert_eq!(code, CloseCode::MalformedFrame.number());
            heard += 1;
        }
    }
    assert!(refused > 0 && heard > 0, "{refused} refused, {heard} heard");
    siege.lift();
}

#[test]
fn slow_messages_are_closed_with_message_timeout() {
    const ATTACKERS: usize = 50;
    let mut siege = Siege::lay("slow messages", "message_timeout = \"1s\"");
    let message = data_frame(Opcode::Data(DataKind::Binary), true, &[7; 60_000]);
    let mut attackers: Vec<Raw> = Vec::new();
    for number in 0..ATTACKERS {
        attackers.push(welcomed(&siege.node, &format!("mallory{number}")));
    }
    let started = Instant::now();
    for byte in &message {
        if started.elapsed() > Duration::from_millis(1_500) {
            break;
        }
        for raw in &mut attackers {
            let _ = raw.try_send(&[*byte]);
        }
        std::thread::sleep(TRICKLE);
    }
    for mut raw in attackers {
        assert_eq!(raw.close_code(), CloseCode::MessageTimeout.number());
    }
    siege.attack(|_| ());
    siege.lift();
}

/// A client that is always in the middle of a message, but ends each in time, is no attacker.
#[test]
fn messages_that_end_in_time_are_not_timed_together() {
    let mut siege = Siege::lay("cut but fast messages", "message_timeout = \"1s\"");
    let mut raw = welcomed(&siege.node, "steady");
    let ping = data_frame(Opcode::Control(ControlKind::Ping), true, b"still here");
    let cut = ping.len() - 1;
    raw.send(&ping[..cut]);
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2_500) {
        // The end of one and the beginning of the next leave together.
        let mut bytes = ping[cut..].to_vec();
        bytes.extend_from_slice(&ping[..cut]);
        raw.send(&bytes);
        assert_eq!(raw.next(), Incoming::Pong(b"still here".to_vec()));
        std::thread::sleep(Duration::from_millis(20));
    }
    siege.attack(|_| ());
    siege.lift();
}
