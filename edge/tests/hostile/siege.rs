//! What every attack has in common: a node with small limits, the canary before and during the
//! attack, and the verdict.
//!
//! The attackers leave the shard's core alone and give way to the canary, so that what is measured
//! is what the node does to the canary and not what the machine's scheduler does. `unsafe` stands
//! here for the two calls that say so, which take plain numbers.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::canary::Canary;
use super::support::process::anonymous_bytes;
use super::support::{Node, Setup};

/// Limits so small that an attack on memory shows within seconds. How often an address may connect
/// is no limit here (`tests/limits/` is about that): a fast machine makes thousands of attempts.
const LIMITS: &str = "[rings]\nslots_per_ring = 2000\n[limits]\nmax_sessions = 2000\n\
    address_rate = 0\n\
    channel_log_bytes_per_shard = \"8MiB\"\npartial_bytes_per_shard = \"2MiB\"\n";
/// Round trips of the canary before the attack.
const QUIET_ROUNDS: usize = 200;
/// Shortest attack: long enough for some windows of the canary.
const ATTACK_TIME: Duration = Duration::from_millis(600);
/// The canary's 99th percentile may grow by this factor under attack.
const SLOWER_AT_MOST: u32 = 2;
/// Below this the difference is the machine's: two cores carry node, canary and attackers.
const FLOOR: Duration = Duration::from_millis(10);
/// The lowest priority of setpriority(2).
const LEAST_URGENT: i32 = 19;

/// Attacks come one after the other, since each measures.
static TURN: Mutex<()> = Mutex::new(());

/// A node with its canary.
#[derive(Debug)]
pub struct Siege {
    name: &'static str,
    /// The node.
    pub node: Node,
    canary: Canary,
    quiet: Duration,
    held_bytes: u64,
    _turn: MutexGuard<'static, ()>,
}

impl Siege {
    /// A node of one shard with `limits` in its `[limits]`, and what its canary is like when
    /// nobody disturbs it.
    pub fn lay(name: &'static str, limits: &str) -> Self {
        Self::lay_with(name, limits, "")
    }

    /// As [`Self::lay`], with further sections of the configuration.
    pub fn lay_with(name: &'static str, limits: &str, sections: &str) -> Self {
        // A test that failed has said why; the others go on.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let node = Setup::shards(1)
            .config(&format!("{LIMITS}{limits}\n{sections}"))
            .start();
        let canary = Canary::start(&node);
        canary.wait_for_rounds(QUIET_ROUNDS);
        let quiet = canary.look().p99();
        give_way();
        Self {
            name,
            node,
            canary,
            quiet,
            held_bytes: 0,
            _turn: turn,
        }
    }

    fn note_memory(&mut self) {
        let bytes = anonymous_bytes(self.node.process());
        self.held_bytes = self.held_bytes.max(bytes);
    }

    /// Attacks again and again until the canary has seen enough of it.
    pub fn attack(&mut self, mut wave: impl FnMut(&Node)) {
        let until = Instant::now() + ATTACK_TIME;
        while Instant::now() < until {
            wave(&self.node);
            self.note_memory();
        }
    }

    /// The verdict: the node lives, the canary lost nothing and was not held up, and the memory
    /// is within the plan.
    pub fn lift(mut self) {
        let seen = self.canary.look();
        self.note_memory();
        let held = self.held_bytes.max(seen.anonymous_bytes);
        assert!(self.canary.lives(), "the canary has died");
        assert!(seen.rounds() > 0, "the canary made no round trip");
        let (p99, longest) = (seen.p99(), seen.longest());
        // One more look after the attack, when nothing of it is queued any more.
        self.canary.wait_for_rounds(1);
        self.canary.end();
        assert_eq!(self.node.exited(), None, "the node has ended");
        let plan = planned_bytes(&self.node);
        println!(
            "{}: canary p99 {:?} quiet, {:?} under attack ({} rounds, longest {:?}); \
             {} of {} MiB",
            self.name,
            self.quiet,
            p99,
            seen.rounds(),
            longest,
            held >> 20,
            plan >> 20,
        );
        let bound = (self.quiet * SLOWER_AT_MOST).max(FLOOR);
        assert!(
            p99 < bound,
            "the canary was held up: {p99:?}, at most {bound:?}"
        );
        assert!(held < plan, "{held} B of memory, planned are {plan} B");
    }
}

/// Makes the calling thread, and those that it starts, the least urgent of the machine, and
/// moves it off the core of the node's only shard, which is the first that may be used.
fn give_way() {
    // SAFETY: both calls take plain numbers and a set that lives as long as the call.
    unsafe {
        assert_eq!(libc::setpriority(libc::PRIO_PROCESS, 0, LEAST_URGENT), 0);
        let mut cores: libc::cpu_set_t = std::mem::zeroed();
        let size = std::mem::size_of::<libc::cpu_set_t>();
        assert_eq!(libc::sched_getaffinity(0, size, &mut cores), 0);
        if libc::CPU_COUNT(&cores) > 1 {
            let first = (0..libc::CPU_SETSIZE as usize).find(|core| libc::CPU_ISSET(*core, &cores));
            libc::CPU_CLR(first.unwrap_or(0), &mut cores);
            assert_eq!(libc::sched_setaffinity(0, size, &cores), 0);
        }
    }
}

/// The most memory that `config print` plans for the node.
fn planned_bytes(node: &Node) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interlink-edge"));
    command.args(["config", "print", "--shards", "1"]);
    node.add_settings(&mut command);
    let output = command.output().expect("the binary of this package starts");
    let printed = String::from_utf8(output.stdout).expect("text");
    let plan = printed.split_once("Memory plan: at most ");
    let amount = plan.and_then(|(_, rest)| rest.split_once(" MiB"));
    let mib: Option<f64> = amount.and_then(|(amount, _)| amount.parse().ok());
    (mib.unwrap_or_else(|| panic!("no plan in {printed}")) * 1_048_576.0) as u64
}
