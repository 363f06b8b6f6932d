//! What a user and a channel of presence really take, against what they are charged.
//!
//! The allocator of the server counts the bytes of this thread.

use std::sync::Arc;

use interlink_relay::backplane::NodeId;
use interlink_relay::limits::{
    NODES_MAX, PRESENCE_INDEX_BYTES, PRESENCE_MEMBER_BYTES, PRESENCE_NODE_BYTES,
    PRESENCE_SCOPE_BYTES,
};
use interlink_relay::presence::{ClusterView, PresenceRules, PresenceTable, Round};
use tikv_jemalloc_ctl::thread;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Users of the one channel.
const USERS: usize = 20_000;
/// Channels without users.
const SCOPES: usize = 5_000;

fn table(is_clustered: bool) -> PresenceTable {
    PresenceTable::new(PresenceRules {
        sources: 2,
        is_clustered,
        grace_ms: 15_000,
        interval_ms: 500,
        bytes_max: usize::MAX,
    })
}

/// Bytes that this thread has allocated, less those that it gave back, also of others.
fn held() -> i64 {
    let allocated = thread::allocatedp::read().expect("the allocator counts");
    let freed = thread::deallocatedp::read().expect("the allocator counts");
    allocated.get() as i64 - freed.get() as i64
}

fn taken(fill: impl FnOnce()) -> usize {
    let before = held();
    fill();
    usize::try_from(held() - before).expect("it takes memory")
}

/// Lets all users come and go.
fn come_and_go(table: &mut PresenceTable, round: Round, charged: usize) {
    let names = || (0..USERS).map(|number| Arc::<str>::from(format!("a-user-no-{number:06}")));
    let bytes = taken(|| names().for_each(|name| table.tell(round, 0, &name, 1, 0)));
    println!("{} bytes a user, {charged} are charged", bytes / USERS);
    assert!(bytes / USERS <= charged);
    let leaving = taken(|| names().for_each(|name| table.tell(round, 0, &name, 0, 0)));
    println!("{} bytes more while leaving", leaving / USERS);
    assert!((bytes + leaving) / USERS <= charged);
}

#[test]
fn a_user_takes_no_more_than_is_charged_even_while_leaving() {
    for index in [0, PRESENCE_INDEX_BYTES] {
        let mut table = table(index > 0);
        let (round, _) = table.look("inst.north", 0).expect("room");
        let charged = PRESENCE_MEMBER_BYTES + index + "a-user-no-000000".len();
        come_and_go(&mut table, round, charged);
        assert_eq!(
            table.bytes(),
            USERS * charged + PRESENCE_SCOPE_BYTES + "inst.north".len()
        );
    }
}

#[test]
fn a_channel_takes_no_more_than_is_charged() {
    let others: Arc<[NodeId]> = (1..NODES_MAX as u64).map(NodeId).collect();
    for nodes in [Arc::default(), others] {
        let mut table = table(true);
        let view = ClusterView {
            nodes: Arc::clone(&nodes),
            is_connected: true,
            ..ClusterView::new(NodeId(0))
        };
        table.set_cluster(&view, 0);
        let bytes = taken(|| {
            for number in 0..SCOPES {
                table.look(&format!("class.c{number:08}"), 0).expect("room");
                while table.next_action().is_some() {}
                while table.next_message(0).is_some() {}
            }
        });
        let charged =
            PRESENCE_SCOPE_BYTES + "class.c00000000".len() + nodes.len() * PRESENCE_NODE_BYTES;
        println!("{} bytes a channel, {charged} are charged", bytes / SCOPES);
        assert!(bytes / SCOPES <= charged);
    }
}
