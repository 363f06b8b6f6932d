//! Every field of a frame as a path and a text, read through the generated views.

use interlink_protocol::frame::{decode_client, decode_server, FrameLimits};
use interlink_protocol::frame::{ClientFrame, ServerFrame};
use interlink_protocol::ids::{InstanceId, RecordId};
use interlink_wire as wire;

/// Fields in order of their paths.
pub type Fields = Vec<(String, String)>;

/// Fields as one JSON object of texts; numbers are texts, too, since 64 bits do not fit the
/// numbers of JavaScript.
pub fn json(fields: &Fields) -> String {
    let lines: Vec<String> = fields
        .iter()
        .map(|(path, value)| format!("  {path:?}: {value:?}"))
        .collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// Fields of a frame of either side.
pub fn frame(bytes: &[u8]) -> Fields {
    let mut out = Out {
        prefix: String::new(),
        fields: Vec::new(),
    };
    match decode_client(bytes, &FrameLimits::CLIENT) {
        Ok(frame) => client(&mut out, frame),
        Err(_) => {
            let frame = decode_server(bytes, &FrameLimits::SERVER).expect("a frame of some side");
            server(&mut out, frame);
        }
    }
    out.fields
}

struct Out {
    prefix: String,
    fields: Fields,
}

impl Out {
    fn put(&mut self, name: &str, value: impl ToString) {
        self.fields
            .push((format!("{}{name}", self.prefix), value.to_string()));
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn bytes(&mut self, name: &str, value: &[u8]) {
        self.put(
            name,
            value
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
        );
    }

    fn within(&mut self, name: impl ToString, inner: impl FnOnce(&mut Self)) {
        let outer = self.prefix.clone();
        self.prefix = format!("{outer}{}.", name.to_string());
        inner(self);
        self.prefix = outer;
    }

    fn position(&mut self, name: &str, value: Option<&wire::StreamPosition>) {
        if let Some(value) = value {
            self.within(name, |out| {
                out.put("epoch", value.epoch());
                out.put("offset", value.offset());
                out.put("chain", value.chain());
            });
        }
    }

    fn trace(&mut self, value: Option<wire::TraceContext<'_>>) {
        if let Some(value) = value {
            self.within("trace", |out| {
                out.text("traceparent", value.traceparent());
                out.text("tracestate", value.tracestate());
            });
        }
    }

    fn settled(&mut self, value: Option<wire::SettledThrough<'_>>) {
        if let Some(value) = value {
            self.within("settled_through", |out| {
                out.put("p0", value.p0());
                out.put("p1", value.p1());
                out.put("p2", value.p2());
                out.put("p3", value.p3());
            });
        }
    }

    fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        each: impl Fn(&mut Self, T),
    ) {
        for (index, item) in items.into_iter().enumerate() {
            self.within(format!("{name}.{index}"), |out| each(out, item));
        }
    }
}

fn channel_position(out: &mut Out, entry: wire::ChannelPosition<'_>) {
    out.put("channel", entry.channel());
    out.position("position", Some(entry.position()));
}

fn client(out: &mut Out, frame: ClientFrame<'_>) {
    out.put("kind", frame.kind());
    match frame {
        ClientFrame::Hello(frame) => hello(out, &frame),
        ClientFrame::Publish(frame) => publish(out, &frame),
        ClientFrame::Subscribe(frame) => {
            out.put("request_id", frame.request_id());
            out.list("channels", frame.channels(), |out, entry| {
                out.put("channel", entry.channel());
                out.position("recover", entry.recover());
                out.put("presence", entry.presence());
                out.text("token", entry.token());
            });
        }
        ClientFrame::Unsubscribe(frame) => {
            out.put("request_id", frame.request_id());
            out.list("channels", frame.channels(), |out, name| {
                out.put("channel", name)
            });
        }
        ClientFrame::Ack(frame) => out.list("positions", frame.positions(), channel_position),
        ClientFrame::History(frame) => {
            out.put("request_id", frame.request_id());
            out.put("channel", frame.channel());
            out.position("after", frame.after());
            out.put("limit", frame.limit());
        }
        ClientFrame::Presence(frame) => {
            out.put("request_id", frame.request_id());
            out.put("channel", frame.channel());
            out.text("page", frame.page());
        }
        ClientFrame::Refresh(frame) => {
            out.put("request_id", frame.request_id());
            out.put("token", frame.token());
        }
        ClientFrame::Pong(frame) => {
            out.put("echo_us", frame.echo_us());
            out.list(
                "positions",
                frame.positions().into_iter().flatten(),
                channel_position,
            );
        }
    }
}

fn hello(out: &mut Out, frame: &wire::Hello<'_>) {
    out.put("version", frame.version());
    out.put("token", frame.token());
    out.put("instance", InstanceId::from(frame.instance()));
    out.text("device", frame.device());
    out.text("client_name", frame.client_name());
    out.text("client_version", frame.client_version());
    if let Some(resume) = frame.resume() {
        out.within("resume", |out| {
            out.put("session", RecordId::from(resume.session()));
            out.list(
                "positions",
                resume.positions().into_iter().flatten(),
                channel_position,
            );
        });
    }
}

fn publish(out: &mut Out, frame: &wire::Publish<'_>) {
    out.put("client_message_id", frame.client_message_id());
    out.put("channel", frame.channel());
    out.put("event_type", frame.event_type());
    out.put("schema_version", frame.schema_version());
    out.bytes("payload", frame.payload().bytes());
    out.put("age_ms", frame.age_ms());
    out.put("time_to_live_ms", frame.time_to_live_ms());
    out.text("conflation_key", frame.conflation_key());
    out.put("ack_level", frame.ack_level().0);
    out.trace(frame.trace());
}

fn server(out: &mut Out, frame: ServerFrame<'_>) {
    out.put("kind", frame.kind());
    match frame {
        ServerFrame::Welcome(frame) => welcome(out, &frame),
        ServerFrame::PublishAck(frame) => publish_ack(out, &frame),
        ServerFrame::Subscribed(frame) => subscribed(out, &frame),
        ServerFrame::Event(frame) => event(out, frame),
        ServerFrame::Position(frame) => {
            out.put("channel", frame.channel());
            out.position("position", Some(frame.position()));
            out.put("skipped", frame.skipped());
            out.put("reason", frame.reason().0);
        }
        ServerFrame::PresenceChange(frame) => {
            out.put("channel", frame.channel());
            out.list("joined", frame.joined().into_iter().flatten(), member);
            out.list("left", frame.left().into_iter().flatten(), member);
            out.put("count", frame.count());
        }
        ServerFrame::PresencePage(frame) => {
            out.put("request_id", frame.request_id());
            out.put("channel", frame.channel());
            out.put("count", frame.count());
            out.list("members", frame.members().into_iter().flatten(), member);
            out.text("next_page", frame.next_page());
        }
        ServerFrame::HistoryPage(frame) => {
            out.put("request_id", frame.request_id());
            out.put("channel", frame.channel());
            out.list("events", frame.events().into_iter().flatten(), event);
            out.position("top", frame.top());
            out.put("recovered", frame.recovered());
            out.put("reason", frame.reason().0);
            out.put("more", frame.more());
        }
        ServerFrame::Heartbeat(frame) => {
            out.put("server_time_us", frame.server_time_us());
            out.settled(frame.settled_through());
        }
        ServerFrame::Reconnect(frame) => {
            out.put("delay_ms", frame.delay_ms());
            out.text("target", frame.target());
            out.put("may_resume", frame.may_resume());
        }
        ServerFrame::Error(frame) => {
            out.put("code", frame.code());
            out.text("message", frame.message());
            out.put("temporary", frame.temporary());
            out.put("retry_after_ms", frame.retry_after_ms());
            out.put("request_id", frame.request_id());
        }
    }
}

fn welcome(out: &mut Out, frame: &wire::Welcome<'_>) {
    out.put("session", RecordId::from(frame.session()));
    out.put("session_epoch", frame.session_epoch());
    out.put("user", frame.user());
    out.text("node", frame.node());
    out.text("region", frame.region());
    out.put("server_time_us", frame.server_time_us());
    out.put("heartbeat_ms", frame.heartbeat_ms());
    out.put("heartbeat_timeout_ms", frame.heartbeat_timeout_ms());
    if let Some(limits) = frame.limits() {
        out.within("limits", |out| {
            out.put("frame_bytes", limits.frame_bytes());
            out.put("subscriptions", limits.subscriptions());
            out.put("publish_credit", limits.publish_credit());
            out.put("publish_credit_critical", limits.publish_credit_critical());
            out.put("channel_bytes", limits.channel_bytes());
        });
    }
    out.put("resume_window_ms", frame.resume_window_ms());
    out.put("resumed", frame.resumed());
    out.list(
        "restored",
        frame.restored().into_iter().flatten(),
        |out, entry| {
            out.put("channel", entry.channel());
            out.position("position", Some(entry.position()));
            out.put("recovered", entry.recovered());
            out.put("reason", entry.reason().0);
            out.put("following", entry.following());
            out.position("history_from", entry.history_from());
            out.put("retry_after_ms", entry.retry_after_ms());
        },
    );
    out.put("highest_accepted", frame.highest_accepted());
    out.settled(frame.settled_through());
}

fn publish_ack(out: &mut Out, frame: &wire::PublishAck<'_>) {
    out.put("client_message_id", frame.client_message_id());
    out.put("count", frame.count());
    out.put("status", frame.status().0);
    out.put("level", frame.level().0);
    out.put("degraded", frame.degraded());
    out.position("position", frame.position());
    out.settled(frame.settled_through());
    out.put("code", frame.code());
    out.put("retry_after_ms", frame.retry_after_ms());
}

fn subscribed(out: &mut Out, frame: &wire::Subscribed<'_>) {
    out.put("request_id", frame.request_id());
    out.list("channels", frame.channels(), |out, entry| {
        out.put("channel", entry.channel());
        out.put("state", entry.state().0);
        out.position("position", entry.position());
        out.put("recovered", entry.recovered());
        out.put("reason", entry.reason().0);
        out.put("following", entry.following());
        out.put("code", entry.code());
        out.position("history_from", entry.history_from());
        out.put("retry_after_ms", entry.retry_after_ms());
    });
}

fn event(out: &mut Out, event: wire::Event<'_>) {
    out.put("channel", event.channel());
    out.position("position", Some(event.position()));
    out.put("previous_chain", event.previous_chain());
    out.put("record", RecordId::from(event.record()));
    out.put("publisher", event.publisher());
    out.put("priority", event.priority().0);
    out.put("event_type", event.event_type());
    out.put("schema_version", event.schema_version());
    out.put("server_time_us", event.server_time_us());
    out.bytes("payload", event.payload().bytes());
    out.text("conflation_key", event.conflation_key());
    out.trace(event.trace());
}

fn member(out: &mut Out, member: wire::PresenceMember<'_>) {
    out.put("user", member.user());
    out.put("devices", member.devices());
}
