//! What the relay thread finds after a start.

use std::sync::Arc;

use interlink_relay::event_log::LogPosition;
use interlink_relay::record::{Kind, Sequence};

use super::BackboneLogs;
use crate::config::Config;
use crate::data_dir::DataDirectory;
use crate::files_thread::FilesThread;
use crate::lanes;
use crate::shard::files::FilesRequest;
use crate::shard::Message;

/// A process that finds `BackboneLogs` and settles further.
fn process(data: &DataDirectory, requests: impl Fn(u32) -> Vec<FilesRequest>) -> BackboneLogs {
    let (mut files, _) = FilesThread::open(&Config::default(), data, 1).expect("a journal");
    let logs = files.backbone_logs().expect("cursors");
    let ports = lanes::mesh::<Message>(1).expect("lanes");
    let link = files.link(ports[0].receiver.bell()).expect("a link");
    let requests = requests(files.boot());
    requests
        .into_iter()
        .for_each(|request| link.request(request));
    drop(link);
    files.start().expect("a thread")();
    logs
}

#[test]
fn a_start_knows_where_the_backbone_stood_lately_also_when_it_went_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = DataDirectory::open(directory.path()).expect("a data directory");
    let at = |boot, sequence| LogPosition {
        boot,
        shard: 0,
        kind: Kind::Urgent,
        sequence: Sequence(sequence),
    };
    process(&data, |boot| {
        vec![
            FilesRequest::Settled(vec![at(boot, 7)]),
            FilesRequest::Settled(vec![at(boot, 5)]),
            FilesRequest::Servers(Arc::from(*b"servers")),
        ]
    });
    let logs = process(&data, |_| Vec::new());
    assert_eq!(logs.servers, b"servers");
    assert!(logs.after.contains(&at(1, 5)));
    let urgent = logs.settled.iter().map(|point| point.through);
    let urgent: Vec<_> = urgent.filter(|at| at.kind == Kind::Urgent).collect();
    assert_eq!(urgent, [at(1, 0), at(1, 5)]);
    let begins = logs.settled.iter().filter(|it| it.through == at(1, 0));
    assert!(begins.clone().count() == 1 && begins.clone().all(|it| it.at_us > 0));
}
