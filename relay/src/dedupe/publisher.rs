//! The accepted ids of one publisher instance, in all classes.

use interlink_protocol::priority::Priority;

use crate::dedupe::{ClassWindow, Verdict};

/// The last accepted ids of one publisher instance, apart by class. A class that the
/// publisher does not use costs eight bytes.
///
/// Times are seconds since the Unix epoch of a clock that never goes back, so that windows
/// rebuilt by a recovery age like those of the running process.
#[derive(Clone, Debug, Default)]
pub struct PublisherWindow {
    classes: [Option<Box<ClassWindow>>; Priority::COUNT],
}

impl PublisherWindow {
    /// Judges an id.
    pub fn look_up(&self, class: Priority, client_message_id: u64, payload_hash: u64) -> Verdict {
        match self.class(class) {
            Some(window) => window.look_up(client_message_id, payload_hash),
            None => Verdict::New,
        }
    }

    /// Remembers an id that was judged `New` and has been accepted.
    pub fn insert(
        &mut self,
        class: Priority,
        client_message_id: u64,
        payload_hash: u64,
        now_s: u32,
    ) {
        self.classes[class.index()]
            .get_or_insert_with(|| Box::new(ClassWindow::new(now_s)))
            .insert(client_message_id, payload_hash, now_s);
    }

    /// Forgets what is older than 10 minutes; `insert` does it for its own class.
    pub fn prune(&mut self, now_s: u32) {
        for window in self.classes.iter_mut().flatten() {
            window.prune(now_s);
        }
    }

    /// The window of one class.
    pub fn class(&self, class: Priority) -> Option<&ClassWindow> {
        self.classes[class.index()].as_deref()
    }

    /// The windows of the classes that the publisher has used.
    pub fn classes(&self) -> impl Iterator<Item = &ClassWindow> {
        self.classes.iter().filter_map(Option::as_deref)
    }

    /// Highest id accepted, over all classes; 0 is none.
    pub fn highest(&self) -> u64 {
        self.classes
            .iter()
            .flatten()
            .map(|window| window.highest())
            .max()
            .unwrap_or(0)
    }

    /// Ids held.
    pub fn len(&self) -> usize {
        self.classes
            .iter()
            .flatten()
            .map(|window| window.len())
            .sum()
    }

    /// Whether no id is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Seconds since something was accepted; the largest value when nothing ever was.
    pub fn idle_s(&self, now_s: u32) -> u32 {
        self.classes
            .iter()
            .flatten()
            .map(|window| window.idle_s(now_s))
            .min()
            .unwrap_or(u32::MAX)
    }
}
