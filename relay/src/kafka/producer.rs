//! The producer of one class: a line of records, and the client that sends them.
//!
//! One client of the library belongs to each class, with connections of its own. Its linger
//! gathers batches; it is idempotent, waits for all replicas in sync and retries without end.
//! When a delivery fails nevertheless, the client is dropped, another one is made after a pause,
//! and everything that was not acknowledged is sent again in order. A failure ends the series of
//! its partition (`enable.gapless.guarantee`), so that nothing later overtakes it.
//!
//! Invariants: only [`ClassProducer::pump`] sends, so records are sent in their order; a record
//! is acknowledged by a positive report only.
//! Threads: [`Reports::delivery`] runs on the client's own thread, everything else where the log
//! is driven.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use interlink_protocol::priority::Priority;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tokio::runtime::Handle;
use tracing::{debug, warn};

use super::config::{Config, ConfigError};
use super::context::{client_context, Reach};
use super::limits;
use super::line::{Line, Reported};
use super::record::Encoded;

/// Called when a port has something to complete.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The fate of one record.
#[derive(Debug)]
struct Report {
    generation: u32,
    number: u64,
    failure: Option<RDKafkaErrorCode>,
}

/// Where a client reports deliveries.
pub(crate) struct Reports {
    generation: u32,
    reports: SyncSender<Report>,
    /// Set while a wake-up is under way, so that a thousand reports are one.
    is_woken: Arc<AtomicBool>,
    wake: Wake,
    reach: Arc<Reach>,
}

client_context!(Reports);

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let failure = result.as_ref().err().map(|(error, _)| {
            let code = error.rdkafka_error_code();
            code.unwrap_or(RDKafkaErrorCode::Fail)
        });
        if failure.is_none() {
            self.reach.note_answer();
        }
        let report = Report {
            generation: self.generation,
            number: number as u64,
            failure,
        };
        // A log that was dropped needs no reports.
        if self.reports.send(report).is_ok() && !self.is_woken.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }
}

type Client = ThreadedProducer<Reports>;

/// A record and the topic that it goes to.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub topic: Arc<str>,
    pub encoded: Encoded,
}

/// The producer of one class.
pub(crate) struct ClassProducer {
    // Dropped first: a client that ends must not wait for a reader of its reports.
    inbox: Receiver<Report>,
    reports: SyncSender<Report>,
    is_woken: Arc<AtomicBool>,
    class: Priority,
    line: Line<Outgoing>,
    client: Option<Client>,
    /// When a client is made again after a failure.
    remake_at: Option<Instant>,
    /// Failures since the last acknowledgement.
    failures: u32,
    settings: ClientConfig,
    origin: Arc<str>,
    wake: Wake,
    reach: Arc<Reach>,
    runtime: Handle,
}

/// What every producer of a log shares.
#[derive(Clone)]
pub(crate) struct Shared {
    pub origin: Arc<str>,
    pub wake: Wake,
    pub reach: Arc<Reach>,
    pub runtime: Handle,
}

impl ClassProducer {
    /// A producer with its client.
    pub fn new(
        class: Priority,
        cluster: &Config,
        node: &str,
        shared: Shared,
    ) -> Result<Self, ConfigError> {
        let (reports, inbox) = sync_channel(limits::UNACKNOWLEDGED_MAX);
        let mut producer = Self {
            inbox,
            reports,
            is_woken: Arc::default(),
            class,
            line: Line::new(limits::UNACKNOWLEDGED_MAX, limits::UNACKNOWLEDGED_BYTES_MAX),
            client: None,
            remake_at: None,
            failures: 0,
            settings: settings(class, cluster, node)?,
            origin: shared.origin,
            wake: shared.wake,
            reach: shared.reach,
            runtime: shared.runtime,
        };
        producer.client = Some(producer.make()?);
        Ok(producer)
    }

    fn make(&self) -> Result<Client, ConfigError> {
        let context = Reports {
            generation: self.line.generation(),
            reports: self.reports.clone(),
            is_woken: self.is_woken.clone(),
            wake: self.wake.clone(),
            reach: self.reach.clone(),
        };
        Ok(Client::from_config_and_context(&self.settings, context)?)
    }

    /// Whether so much more may come.
    pub fn has_room(&self, records: usize, bytes: usize) -> bool {
        self.line.has_room(records, bytes)
    }

    /// Takes a record; [`ClassProducer::pump`] sends it.
    pub fn push(&mut self, outgoing: Outgoing, call: u64) {
        let bytes = outgoing.encoded.bytes();
        self.line.push(outgoing, bytes, call);
    }

    /// Takes reports and sends what may be sent; gives the calls of records that are done, one
    /// entry for each record.
    pub fn pump(&mut self, done: &mut Vec<u64>) {
        self.is_woken.store(false, Ordering::Release);
        while let Ok(report) = self.inbox.try_recv() {
            self.take(&report);
        }
        self.remake();
        self.send();
        while let Some(call) = self.line.pop() {
            done.push(call);
        }
    }

    fn take(&mut self, report: &Report) {
        let delivered = report.failure.is_none();
        let reported = self
            .line
            .on_report(report.generation, report.number, delivered);
        match (reported, report.failure) {
            (Reported::Acknowledged, _) => self.failures = 0,
            (Reported::Failed, Some(code)) => self.fail(code),
            _ => {}
        }
    }

    /// Gives the client up; another one sends again what is not acknowledged.
    fn fail(&mut self, code: RDKafkaErrorCode) {
        let class = self.class.name();
        let waiting = self.line.len();
        if self.failures == 0 {
            warn!(
                class, %code, waiting,
                "Kafka refused a record; everything from it on is sent again in order. If the \
                 topic is unknown, run interlink-workers topics apply"
            );
        } else {
            debug!(class, %code, waiting, "Kafka refused a record again");
        }
        self.failures = self.failures.saturating_add(1);
        self.line.rewind();
        if let Some(client) = self.client.take() {
            // Ending a client takes up to half a second; its reports are of an old generation.
            self.runtime.spawn_blocking(move || drop(client));
        }
        let pause = Duration::from_millis(limits::REMAKE_MS);
        self.remake_at = Some(Instant::now() + pause);
        let wake = self.wake.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(pause).await;
            wake();
        });
    }

    fn remake(&mut self) {
        let Some(at) = self.remake_at else {
            return;
        };
        if Instant::now() < at {
            return;
        }
        self.remake_at = None;
        match self.make() {
            Ok(client) => self.client = Some(client),
            Err(error) => {
                warn!(%error, "a Kafka client could not be made again");
                self.fail(RDKafkaErrorCode::Fail);
            }
        }
    }

    fn send(&mut self) {
        let mut failure = None;
        if let Some(client) = &self.client {
            while let Some((number, outgoing)) = self.line.next_unsent() {
                let encoded = &outgoing.encoded;
                let headers = encoded.headers(&self.origin);
                let record = BaseRecord::with_opaque_to(&outgoing.topic, number as usize)
                    .key(encoded.key())
                    .payload(encoded.value())
                    .headers(owned(&headers));
                match client.send(record) {
                    Ok(()) => self.line.note_sent(),
                    // A report will make room and wake.
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                    Err((error, _)) => {
                        failure = error.rdkafka_error_code().or(Some(RDKafkaErrorCode::Fail));
                        break;
                    }
                }
            }
        }
        if let Some(code) = failure {
            self.fail(code);
        }
    }

    /// Records under way.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Waits until everything is acknowledged, or until `until`; gives calls as
    /// [`ClassProducer::pump`] does.
    pub fn flush(&mut self, until: Instant, done: &mut Vec<u64>) {
        self.pump(done);
        while self.line.len() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if let Some(client) = self.client.as_ref().filter(|_| self.line.unsent() == 0) {
                // Sends what still waits for company; reports come while it waits.
                let step = left.min(Duration::from_millis(limits::FLUSH_STEP_MS));
                let _ = client.flush(step);
            }
            let step = left.min(Duration::from_millis(limits::FLUSH_STEP_MS));
            match self.inbox.recv_timeout(step) {
                Ok(report) => self.take(&report),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.pump(done);
        }
    }
}

fn owned(headers: &[(&'static str, &[u8])]) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(empty, |headers, (key, value)| {
        headers.insert(Header {
            key,
            value: Some(*value),
        })
    })
}

/// Settings of a class's client.
fn settings(class: Priority, cluster: &Config, node: &str) -> Result<ClientConfig, ConfigError> {
    let mut client = cluster.client(&format!("interlink-{node}-{}", class.name()))?;
    let linger = match class {
        Priority::P0 | Priority::P1 => limits::LINGER_FAST_MS,
        Priority::P2 | Priority::P3 => limits::LINGER_BATCH_MS,
    };
    client.set("linger.ms", linger.to_string());
    client.set("batch.num.messages", limits::BATCH_RECORDS.to_string());
    client.set("compression.type", "lz4");
    client.set("acks", "all");
    client.set("enable.idempotence", "true");
    client.set("enable.gapless.guarantee", "true");
    // The journal decides how long a record is tried: for ever.
    client.set("message.timeout.ms", "0");
    // As the producers of other languages place a key.
    client.set("partitioner", "murmur2_random");
    // More than the line holds, so that the line is the bound.
    let records = 2 * limits::UNACKNOWLEDGED_MAX;
    client.set("queue.buffering.max.messages", records.to_string());
    let kibibytes = 2 * limits::UNACKNOWLEDGED_BYTES_MAX / 1024;
    client.set("queue.buffering.max.kbytes", kibibytes.to_string());
    Ok(client)
}
