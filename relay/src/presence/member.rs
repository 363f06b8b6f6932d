//! One user in a scope: devices by source, and when the user counts as gone.
//!
//! Runs on: the thread of the table.

/// Who counts devices of a user: a shard of this node.
pub type Source = u16;

/// A user with a device in a scope, or one who had it a moment ago.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// A user is at home at one source; more are the exception.
    first: (Source, u32),
    others: Vec<(Source, u32)>,
    /// When the user counts as gone; none while there is a device.
    pub(super) leaves_ms: Option<u64>,
}

impl Member {
    pub(super) fn new(source: Source, devices: u32) -> Self {
        Self {
            first: (source, devices),
            others: Vec::new(),
            leaves_ms: None,
        }
    }

    /// Takes over what a source counts now.
    pub(super) fn set(&mut self, source: Source, devices: u32) {
        if self.first.0 == source {
            self.first.1 = devices;
            return;
        }
        match self.others.iter().position(|entry| entry.0 == source) {
            Some(at) => self.others[at].1 = devices,
            None if self.first.1 == 0 => self.first = (source, devices),
            None => self.others.push((source, devices)),
        }
        self.others.retain(|entry| entry.1 > 0);
    }

    /// Devices at all sources.
    pub(super) fn devices(&self) -> u32 {
        let others = self.others.iter().map(|entry| entry.1);
        others.fold(self.first.1, u32::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_several_sources_add_up() {
        let mut member = Member::new(3, 1);
        member.set(5, 2);
        assert_eq!(member.devices(), 3);
        member.set(3, 0);
        assert_eq!(member.devices(), 2);
        member.set(7, 4);
        member.set(5, 1);
        assert_eq!(member.devices(), 5);
        member.set(7, 0);
        member.set(5, 0);
        assert_eq!(member.devices(), 0);
        assert!(member.others.is_empty());
    }
}
