//! The one timer: a timeout operation with an absolute deadline.
//!
//! **Invariants.** At most one timeout is in the kernel. A later deadline leaves the armed one in
//! place (it is armed again when it fires); only an earlier one changes it. So a deadline that
//! moves forward with each turn costs no operation a turn.

use io_uring::types::{TimeoutFlags, Timespec};
use io_uring::{opcode, squeue};

use super::EdgeRing;
use crate::event::Event;
use crate::operation::{Operation, Tag};

const TAG: Tag = Tag::numbered(Operation::Timer, 0, 0);
const UPDATE: Tag = Tag::numbered(Operation::TimerUpdate, 0, 0);

/// The timer's state.
pub(super) struct Timer {
    wanted: Option<u64>,
    armed: Option<u64>,
    // Boxed, because queued entries point at it until they are submitted. The kernel copies it
    // then, so writing a newer deadline over it earlier is what is meant.
    deadline: Box<Timespec>,
}

impl Default for Timer {
    fn default() -> Self {
        Self {
            wanted: None,
            armed: None,
            deadline: Box::new(Timespec::new()),
        }
    }
}

impl EdgeRing {
    pub(super) fn set_deadline(&mut self, deadline_ns: Option<u64>) {
        self.timer.wanted = deadline_ns;
        let Some(wanted) = deadline_ns else { return };
        match self.timer.armed {
            None => self.arm_timer(wanted),
            Some(armed) if wanted < armed => {
                self.timer.armed = Some(wanted);
                *self.timer.deadline = timespec(wanted);
                let entry = opcode::TimeoutUpdate::new(TAG.bits(), &*self.timer.deadline)
                    .flags(TimeoutFlags::ABS)
                    .build()
                    .flags(squeue::Flags::SKIP_SUCCESS)
                    .user_data(UPDATE.bits());
                // SAFETY: the deadline is boxed and the kernel reads it when it takes the entry.
                unsafe { self.rings[0].push(&entry, &mut self.counters) };
            }
            Some(_) => {}
        }
    }

    fn arm_timer(&mut self, deadline_ns: u64) {
        self.timer.armed = Some(deadline_ns);
        *self.timer.deadline = timespec(deadline_ns);
        let entry = opcode::Timeout::new(&*self.timer.deadline)
            .flags(TimeoutFlags::ABS)
            .build()
            .user_data(TAG.bits());
        // SAFETY: the deadline is boxed and the kernel reads it when it takes the entry.
        unsafe { self.rings[0].push(&entry, &mut self.counters) };
    }

    pub(super) fn timer_fired(&mut self) -> Option<Event> {
        let armed = self.timer.armed.take()?;
        match self.timer.wanted {
            None => None,
            Some(wanted) if wanted > armed => {
                self.arm_timer(wanted);
                None
            }
            Some(_) => {
                self.timer.wanted = None;
                Some(Event::Timer)
            }
        }
    }
}

fn timespec(nanoseconds: u64) -> Timespec {
    Timespec::new()
        .sec(nanoseconds / 1_000_000_000)
        .nsec((nanoseconds % 1_000_000_000) as u32)
}
