//! One user in a scope: devices by source, and when the user counts as gone.
//!
//! Runs on: the thread of the table.

/// Who counts devices of a user: a shard of this node, or another node.
pub type Source = u16;

/// A user with a device in a scope, or one who had it a moment ago.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// A user is at home at one source; more are the exception.
    first: (Source, u32),
    others: Vec<(Source, u32)>,
    /// When the user counts as gone; none while there is a device.
    pub(super) leaves_ms: Option<u64>,
    /// When the last device was lost, or something was heard of the user afterwards.
    pub(super) absent_ms: u64,
    /// Version of the last change of the devices of this node; 0 when other nodes need not be
    /// told of it.
    pub(super) version: u64,
}

impl Member {
    pub(super) fn new(source: Source, devices: u32) -> Self {
        Self {
            first: (source, devices),
            others: Vec::new(),
            leaves_ms: None,
            absent_ms: 0,
            version: 0,
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

    fn entries(&self) -> impl Iterator<Item = &(Source, u32)> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Devices at all sources.
    pub(super) fn devices(&self) -> u32 {
        let devices = self.entries().map(|entry| entry.1);
        devices.fold(0, u32::saturating_add)
    }

    /// Devices at sources below this one: those of this node.
    pub(super) fn devices_below(&self, sources: Source) -> u32 {
        let own = self.entries().filter(|entry| entry.0 < sources);
        own.map(|entry| entry.1).fold(0, u32::saturating_add)
    }

    /// Devices at a source.
    pub(super) fn devices_at(&self, source: Source) -> u32 {
        let at = self.entries().find(|entry| entry.0 == source);
        at.map_or(0, |entry| entry.1)
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
        assert_eq!((member.devices_below(5), member.devices_at(5)), (1, 2));
        member.set(3, 0);
        assert_eq!(member.devices(), 2);
        member.set(7, 4);
        member.set(5, 1);
        assert_eq!(member.devices(), 5);
        assert_eq!((member.devices_below(7), member.devices_at(7)), (1, 4));
        member.set(7, 0);
        member.set(5, 0);
        assert_eq!(member.devices(), 0);
        assert!(member.others.is_empty());
    }
}
