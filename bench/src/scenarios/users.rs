//! Users of a scenario: names, tokens, and the greeting of each.
//!
//! Runs on: the bench's main thread, before the traffic.

use crate::engine::template::FrameWriter;
use crate::engine::token::{Grants, Signer};
use anyhow::Result;
use interlink_protocol::frame::{HelloFields, SubscribeFields};
use interlink_protocol::ids::InstanceId;
use interlink_protocol::limits::ITEMS_PER_FRAME;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A user with token and subscriptions.
#[derive(Clone, Debug)]
pub struct User {
    /// The name.
    pub name: String,
    token: Box<str>,
    instance: InstanceId,
    /// Channels with their tokens.
    channels: Vec<(String, Option<String>)>,
}

/// Users by client number.
#[derive(Clone, Debug, Default)]
pub struct Users {
    users: Vec<User>,
}

/// Makes users with instances that follow from one seed.
pub struct UserMaker<'a> {
    /// Signs the tokens.
    pub signer: &'a Signer,
    instances: StdRng,
}

impl<'a> UserMaker<'a> {
    /// A maker. The seed is mixed with the time of day, so that runs on the same data never share
    /// a publisher instance.
    pub fn new(signer: &'a Signer, seed: u64) -> Self {
        let now = crate::sys::monotonic_ns();
        Self {
            signer,
            instances: StdRng::seed_from_u64(seed ^ now),
        }
    }

    /// A user without subscriptions.
    pub fn user(&mut self, name: &str, grants: &Grants) -> Result<User> {
        Ok(User {
            name: name.to_owned(),
            token: self.signer.user(name, grants)?.into(),
            instance: InstanceId(self.instances.random()),
            channels: Vec::new(),
        })
    }
}

impl User {
    /// Subscribes to a channel that needs no token.
    pub fn subscribe(mut self, channel: impl Into<String>) -> Self {
        self.channels.push((channel.into(), None));
        self
    }

    /// Subscribes to a channel by token.
    pub fn subscribe_by_token(mut self, channel: &str, signer: &Signer) -> Result<Self> {
        let token = signer.subscription(&self.name, channel)?;
        self.channels.push((channel.to_owned(), Some(token)));
        Ok(self)
    }

    /// Writes the `Hello`.
    pub fn hello(&self, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        let fields = HelloFields {
            token: &self.token,
            instance: self.instance,
            device: None,
            client_name: Some("interlink-bench"),
            client_version: Some(env!("CARGO_PKG_VERSION")),
            resume: None,
        };
        writer.append(out, |encoder| encoder.hello(&fields));
    }

    /// Writes the `Subscribe`s; nothing when there are no channels.
    pub fn subscribe_frames(&self, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        for (number, channels) in self.channels.chunks(ITEMS_PER_FRAME).enumerate() {
            let fields: Vec<SubscribeFields<'_>> = channels
                .iter()
                .map(|(channel, token)| SubscribeFields {
                    token: token.as_deref(),
                    ..SubscribeFields::new(channel)
                })
                .collect();
            writer.append(out, |encoder| encoder.subscribe(number as u32 + 1, &fields));
        }
    }
}

impl Users {
    /// Adds the user of the next client.
    pub fn push(&mut self, user: User) {
        self.users.push(user);
    }

    /// Number of users.
    pub fn count(&self) -> u32 {
        self.users.len() as u32
    }

    /// The user of a client.
    pub fn get(&self, client: u32) -> &User {
        &self.users[client as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use interlink_protocol::frame::{decode_client, ClientFrame, FrameLimits};
    use interlink_protocol::websocket::frame::{find_whole, Role};
    use interlink_protocol::websocket::mask;

    fn frames(mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(whole) = find_whole(&bytes, Role::Server, 1 << 20) {
            let mut frame = bytes[whole.payload_start..whole.payload_end].to_vec();
            mask::apply(&mut frame, whole.key);
            frames.push(frame);
            bytes.drain(..whole.payload_end);
        }
        frames
    }

    #[test]
    fn a_user_greets_and_subscribes_in_frames_that_the_protocol_takes() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        let signer = Signer::from_file(&key).unwrap();
        let mut maker = UserMaker::new(&signer, 1);
        let mut user = maker.user("ada", &Grants::member(&[])).unwrap();
        for number in 0..40 {
            user = user
                .subscribe_by_token(&format!("chat.{number}"), &signer)
                .unwrap();
        }
        let mut writer = FrameWriter::new(1);
        let mut out = Vec::new();
        user.hello(&mut writer, &mut out);
        user.subscribe_frames(&mut writer, &mut out);
        let frames = frames(out);
        assert_eq!(frames.len(), 3);
        let hello = decode_client(&frames[0], &FrameLimits::HELLO).unwrap();
        assert!(matches!(hello, ClientFrame::Hello(_)));
        let counts: Vec<usize> = frames[1..]
            .iter()
            .map(
                |frame| match decode_client(frame, &FrameLimits::CLIENT).unwrap() {
                    ClientFrame::Subscribe(subscribe) => subscribe.channels().len(),
                    other => panic!("{}", other.kind()),
                },
            )
            .collect();
        assert_eq!(counts, [32, 8]);
    }
}
