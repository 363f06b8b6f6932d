//! Sessions on the real node, through real sockets: every rule of a session that a client can
//! see, on a node of one shard and on a node of two, where users and channels lie apart.

#[path = "../support/mod.rs"]
mod support;

mod conflated;
mod cursors;
mod presence;
mod publishing;
mod requests;
mod resuming;
mod slow;
mod subscribing;

/// Makes two tests of each function, for one shard and for two.
macro_rules! on_one_and_two_shards {
    ($($name:ident),* $(,)?) => {
        mod one_shard {
            $(#[test]
            fn $name() {
                super::$name(1);
            })*
        }
        mod two_shards {
            $(#[test]
            fn $name() {
                super::$name(2);
            })*
        }
    };
}
pub(crate) use on_one_and_two_shards;
