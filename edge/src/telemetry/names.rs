//! Every metric name, one constant each.
//!
//! Grammar: `interlink_edge_` and lower-case words; counters end in `_total`, times in
//! `_seconds`, sizes in `_bytes`. Names of the process follow the Prometheus convention.
//!
//! Runs on: any thread; these are constants.

/// Connections that are open now.
pub const CONNECTIONS_OPEN: &str = "interlink_edge_connections_open";
/// Connections that the kernel handed over.
pub const CONNECTIONS_ACCEPTED: &str = "interlink_edge_connections_accepted_total";
/// Connections dropped at their accept, since their address opens too many.
pub const CONNECTIONS_OVER_RATE: &str = "interlink_edge_connections_over_rate_total";
/// Connections of proxies dropped for their header.
pub const PROXY_HEADERS_REFUSED: &str = "interlink_edge_proxy_headers_refused_total";
/// Connections that have ended.
pub const CONNECTIONS_CLOSED: &str = "interlink_edge_connections_closed_total";
/// Connections that this node ended.
pub const CLOSED_BY_SERVER: &str = "interlink_edge_connections_closed_by_server_total";
/// Connections that this node ended with a close code, by code.
pub const CLOSES: &str = "interlink_edge_close_frames_total";
/// Connections that ended before their close frame had left.
pub const CLOSES_UNTOLD: &str = "interlink_edge_close_frames_unsent_total";
/// Connections whose socket is full.
pub const CONNECTIONS_BLOCKED: &str = "interlink_edge_connections_blocked";
/// Clients that a drain has sent away.
pub const RECONNECTS_SENT: &str = "interlink_edge_reconnects_sent_total";
/// Accepts that the kernel refused.
pub const ACCEPT_FAILURES: &str = "interlink_edge_accept_failures_total";

/// Connections that have not finished `Hello`.
pub const HANDSHAKES_OPEN: &str = "interlink_edge_handshakes_open";
/// Handshakes that ended with `Welcome`.
pub const HANDSHAKES_DONE: &str = "interlink_edge_handshakes_done_total";
/// Upgrade requests answered with an HTTP error.
pub const HANDSHAKES_REFUSED: &str = "interlink_edge_handshakes_refused_total";
/// Unfinished handshakes that were ended for room or time.
pub const HANDSHAKES_EVICTED: &str = "interlink_edge_handshakes_evicted_total";
/// Full TLS handshakes.
pub const TLS_FULL: &str = "interlink_edge_tls_full_handshakes_total";
/// TLS handshakes that continued an earlier session.
pub const TLS_RESUMED: &str = "interlink_edge_tls_resumed_handshakes_total";
/// TLS handshakes and sessions that ended by an error.
pub const TLS_FAILURES: &str = "interlink_edge_tls_failures_total";
/// Times that certificates and ticket secrets were read again.
pub const TLS_RELOADS: &str = "interlink_edge_tls_reloads_total";
/// Times that certificates and ticket secrets could not be read again.
pub const TLS_RELOAD_FAILURES: &str = "interlink_edge_tls_reload_failures_total";
/// User tokens that were refused.
pub const TOKENS_REFUSED: &str = "interlink_edge_tokens_refused_total";
/// Tokens of open connections that were replaced.
pub const TOKENS_REFRESHED: &str = "interlink_edge_tokens_refreshed_total";
/// Anomalies that were found, by kind.
pub const ANOMALIES: &str = "interlink_edge_anomalies_total";
/// Anomalies that were counted and not told as events.
pub const ANOMALIES_UNTOLD: &str = "interlink_edge_anomalies_untold_total";
/// Subscriptions that ended with their token.
pub const GRANTS_ENDED: &str = "interlink_edge_grants_ended_total";
/// Connections moved to the shard of their user.
pub const CONNECTIONS_HANDED_OVER: &str = "interlink_edge_connections_handed_over_total";

/// Sessions, with or without a connection.
pub const SESSIONS_OPEN: &str = "interlink_edge_sessions_open";
/// Sessions begun.
pub const SESSIONS_CREATED: &str = "interlink_edge_sessions_created_total";
/// Sessions continued after a loss.
pub const SESSIONS_RESUMED: &str = "interlink_edge_sessions_resumed_total";
/// Connections replaced by a newer one of the same session.
pub const SESSIONS_TAKEN_OVER: &str = "interlink_edge_sessions_taken_over_total";
/// Sessions whose resume window ended.
pub const SESSIONS_EXPIRED: &str = "interlink_edge_sessions_expired_total";
/// Places that devices have acknowledged.
pub const CURSORS: &str = "interlink_edge_cursors";
/// Acknowledgements that moved a cursor.
pub const CURSORS_MOVED: &str = "interlink_edge_cursors_moved_total";
/// Cursors written to the disk.
pub const CURSORS_KEPT: &str = "interlink_edge_cursors_kept_total";
/// Subscriptions now.
pub const SUBSCRIPTIONS: &str = "interlink_edge_subscriptions";
/// Channels with subscribers on this shard.
pub const CHANNELS_ACTIVE: &str = "interlink_edge_channels_active";
/// Subscriptions continued without a gap.
pub const CHANNELS_RECOVERED: &str = "interlink_edge_channels_recovered_total";
/// Subscriptions that could not be continued.
pub const CHANNELS_NOT_RECOVERED: &str = "interlink_edge_channels_not_recovered_total";
/// Channels whose presence is kept.
pub const PRESENCE_SCOPES: &str = "interlink_edge_presence_channels";
/// Users in these channels.
pub const PRESENCE_MEMBERS: &str = "interlink_edge_presence_users";
/// Bytes of the tables of presence.
pub const PRESENCE_BYTES: &str = "interlink_edge_presence_bytes";
/// Channels whose presence was given up for want of room.
pub const PRESENCE_DROPPED: &str = "interlink_edge_presence_dropped_total";
/// Pages of presence.
pub const PRESENCE_PAGES: &str = "interlink_edge_presence_pages_total";
/// Changes of presence.
pub const PRESENCE_CHANGES: &str = "interlink_edge_presence_changes_total";
/// Changes and counts of presence handed to connections.
pub const PRESENCE_TOLD: &str = "interlink_edge_presence_told_total";
/// Changes of presence that a connection did not take.
pub const PRESENCE_DELAYED: &str = "interlink_edge_presence_delayed_total";
/// Messages about presence for other nodes.
pub const PRESENCE_SENT: &str = "interlink_edge_presence_sent_total";
/// Messages about presence of other nodes.
pub const PRESENCE_HEARD: &str = "interlink_edge_presence_heard_total";
/// Messages about presence that had no form.
pub const PRESENCE_INVALID: &str = "interlink_edge_presence_invalid_total";
/// Messages about presence that were missing.
pub const PRESENCE_GAPS: &str = "interlink_edge_presence_gaps_total";
/// Times that another node did not answer.
pub const PRESENCE_SILENCES: &str = "interlink_edge_presence_silences_total";
/// Leaves that waited for another node.
pub const PRESENCE_POSTPONED: &str = "interlink_edge_presence_postponed_total";
/// Frames about presence that found no room.
pub const PRESENCE_FRAMES_LOST: &str = "interlink_edge_presence_frames_lost_total";
/// Heartbeats sent.
pub const HEARTBEATS_SENT: &str = "interlink_edge_heartbeats_sent_total";
/// Heartbeats that were not answered in time.
pub const HEARTBEATS_MISSED: &str = "interlink_edge_heartbeats_missed_total";

/// Messages received from clients.
pub const FRAMES_IN: &str = "interlink_edge_received_messages_total";
/// Messages sent to clients.
pub const FRAMES_OUT: &str = "interlink_edge_sent_messages_total";
/// Bytes received from clients.
pub const BYTES_IN: &str = "interlink_edge_received_bytes_total";
/// Bytes sent to clients.
pub const BYTES_OUT: &str = "interlink_edge_sent_bytes_total";
/// Receive completions with bytes.
pub const RECEIVES: &str = "interlink_edge_receives_total";
/// Send operations.
pub const SENDS: &str = "interlink_edge_sends_total";
/// Sends of which only a part fitted.
pub const SENDS_SHORT: &str = "interlink_edge_sends_short_total";
/// Sends that found the socket full.
pub const SENDS_BLOCKED: &str = "interlink_edge_sends_blocked_total";
/// Connections that were not read for a while because of their rate.
pub const READS_PAUSED: &str = "interlink_edge_reads_paused_total";

/// Publishes received, by class.
pub const PUBLISHES: &str = "interlink_edge_publishes_total";
/// Publishes acknowledged, by class.
pub const PUBLISHES_ACKED: &str = "interlink_edge_publishes_acked_total";
/// Publishes that had been accepted before, by class.
pub const PUBLISHES_REPEATED: &str = "interlink_edge_publishes_repeated_total";
/// Publishes refused, by class.
pub const PUBLISHES_REFUSED: &str = "interlink_edge_publishes_refused_total";
/// Idempotency keys of services that were forgotten before they were five minutes old.
pub const KEYS_FORGOTTEN_EARLY: &str = "interlink_edge_keys_forgotten_early_total";
/// Requests and publishes refused, by error code.
pub const REFUSALS: &str = "interlink_edge_refusals_total";
/// Events delivered to connections, by class.
pub const EVENTS_OUT: &str = "interlink_edge_delivered_events_total";
/// Events that a slow client did not get and was told of, by class.
pub const EVENTS_SKIPPED: &str = "interlink_edge_skipped_events_total";
/// Events that a newer one of their key stood for, by class.
pub const EVENTS_CONFLATED: &str = "interlink_edge_conflated_events_total";
/// Times that a log overtook a subscription, by class and outcome.
pub const OVERRUNS: &str = "interlink_edge_overruns_total";
/// Subscriptions that have not been sent all that is in the log.
pub const SUBSCRIPTIONS_LAGGING: &str = "interlink_edge_subscriptions_lagging";
/// Subscriptions that read history or last values.
pub const SUBSCRIPTIONS_BEHIND: &str = "interlink_edge_subscriptions_behind";
/// Time from a publish to its acknowledgement.
pub const ACK_LATENCY: &str = "interlink_edge_ack_latency_seconds";
/// Time from a publish to the moment from which it may be sent.
pub const VISIBLE_LATENCY: &str = "interlink_edge_visible_latency_seconds";
/// Time from a publish to the end of the pass over its subscribers.
pub const DELIVERY_LATENCY: &str = "interlink_edge_delivery_latency_seconds";

/// Records appended, by class.
pub const JOURNAL_RECORDS: &str = "interlink_edge_journal_records_total";
/// Bytes written.
pub const JOURNAL_BYTES: &str = "interlink_edge_journal_bytes_total";
/// Blocks written.
pub const JOURNAL_BLOCKS: &str = "interlink_edge_journal_blocks_total";
/// Data syncs that ended.
pub const JOURNAL_SYNCS: &str = "interlink_edge_journal_syncs_total";
/// Writes and syncs that failed.
pub const JOURNAL_FAILURES: &str = "interlink_edge_journal_failures_total";
/// Records refused by the quota, by class.
pub const JOURNAL_REFUSALS: &str = "interlink_edge_journal_refusals_total";
/// Bytes appended and not yet synced.
pub const JOURNAL_WAITING_BYTES: &str = "interlink_edge_journal_waiting_bytes";
/// Bytes of the quota that are used.
pub const JOURNAL_USED_BYTES: &str = "interlink_edge_journal_used_bytes";
/// The shard's share of the quota.
pub const JOURNAL_QUOTA_BYTES: &str = "interlink_edge_journal_quota_bytes";
/// Time of a write.
pub const JOURNAL_WRITE_LATENCY: &str = "interlink_edge_journal_write_latency_seconds";
/// Time of a data sync.
pub const SYNC_LATENCY: &str = "interlink_edge_journal_sync_latency_seconds";

/// Entries pushed to other shards, by class.
pub const LANE_ENTRIES: &str = "interlink_edge_lane_entries_total";
/// Entries that found their lane full, by class.
pub const LANE_FULL: &str = "interlink_edge_lane_full_total";
/// Entries that wait for this shard, by class.
pub const LANE_DEPTH: &str = "interlink_edge_lane_depth";
/// Entries kept until the lanes of others have room.
pub const LANE_KEPT: &str = "interlink_edge_lane_kept_entries";
/// Records that the relay thread of a cluster has to read from the journal.
pub const RECORDS_LEFT_OUT: &str = "interlink_edge_records_left_out_total";
/// Wake-ups of other shards.
pub const DOORBELLS: &str = "interlink_edge_doorbells_total";

/// Bytes of channel logs in use.
pub const LOG_BYTES: &str = "interlink_edge_log_bytes";
/// Bytes of incomplete messages in use.
pub const PARTIAL_BYTES: &str = "interlink_edge_partial_bytes";
/// Bytes of last values in use.
pub const LAST_VALUES_BYTES: &str = "interlink_edge_last_values_bytes";
/// Last values that went to make room.
pub const LAST_VALUES_EVICTED: &str = "interlink_edge_last_values_evicted_total";
/// Times that a pool had no free block.
pub const POOL_EMPTY: &str = "interlink_edge_pool_empty_total";

/// Turns of the shard; one that stands still is stuck.
pub const TURNS: &str = "interlink_edge_turns_total";
/// Time of a turn.
pub const TURN_LATENCY: &str = "interlink_edge_turn_seconds";
/// Turns that took longer than 250 microseconds.
pub const TURNS_OVER_BUDGET: &str = "interlink_edge_turns_over_budget_total";
/// Times that the shard slept.
pub const SLEEPS: &str = "interlink_edge_sleeps_total";
/// Rings open now.
pub const RINGS_OPEN: &str = "interlink_edge_rings_open";
/// Calls of io_uring_enter.
pub const RING_ENTERS: &str = "interlink_edge_ring_enters_total";
/// Operations handed to the kernel.
pub const RING_SUBMITTED: &str = "interlink_edge_ring_submitted_total";
/// Completions read.
pub const RING_COMPLETIONS: &str = "interlink_edge_ring_completions_total";
/// Receives that ended because no buffer was free.
pub const RING_STARVED: &str = "interlink_edge_ring_starved_total";
/// Times that the completion queue was full.
pub const RING_OVERFLOWS: &str = "interlink_edge_ring_overflows_total";
/// Rings that could not be opened.
pub const RING_OPEN_FAILURES: &str = "interlink_edge_ring_open_failures_total";

/// Time of the process on processors.
pub const PROCESS_CPU_SECONDS: &str = "process_cpu_seconds_total";
/// The part of it in the program.
pub const PROCESS_CPU_USER_SECONDS: &str = "process_cpu_user_seconds_total";
/// The part of it in the kernel.
pub const PROCESS_CPU_SYSTEM_SECONDS: &str = "process_cpu_system_seconds_total";
/// Memory of the process that is in use.
pub const PROCESS_RESIDENT_BYTES: &str = "process_resident_memory_bytes";
/// The part of it that belongs to no file.
pub const PROCESS_ANONYMOUS_BYTES: &str = "process_resident_anonymous_memory_bytes";
/// Address space of the process.
pub const PROCESS_VIRTUAL_BYTES: &str = "process_virtual_memory_bytes";
/// Threads of the process.
pub const PROCESS_THREADS: &str = "process_threads";
/// Open descriptors of the process.
pub const PROCESS_OPEN_FDS: &str = "process_open_fds";
/// Most open descriptors of the process.
pub const PROCESS_MAX_FDS: &str = "process_max_fds";
/// When the process was started.
pub const PROCESS_START_SECONDS: &str = "process_start_time_seconds";

/// Bytes that the program has allocated.
pub const ALLOCATOR_ALLOCATED: &str = "interlink_edge_allocator_allocated_bytes";
/// Bytes in pages that hold allocations.
pub const ALLOCATOR_ACTIVE: &str = "interlink_edge_allocator_active_bytes";
/// Bytes of the allocator's own tables.
pub const ALLOCATOR_METADATA: &str = "interlink_edge_allocator_metadata_bytes";
/// Bytes of the allocator that are in memory.
pub const ALLOCATOR_RESIDENT: &str = "interlink_edge_allocator_resident_bytes";
/// Bytes of address space that the allocator holds.
pub const ALLOCATOR_MAPPED: &str = "interlink_edge_allocator_mapped_bytes";
/// Bytes that the allocator keeps for later use.
pub const ALLOCATOR_RETAINED: &str = "interlink_edge_allocator_retained_bytes";

/// Version of the program, as a label of the constant 1.
pub const BUILD_INFO: &str = "interlink_edge_build_info";
/// State of the node, as a label of the constant 1.
pub const NODE_PHASE: &str = "interlink_edge_phase";
/// Memory that the plan allows.
pub const PLAN_BYTES: &str = "interlink_edge_memory_plan_bytes";

/// Requests of the control endpoint without its token.
pub const CONTROL_REFUSED: &str = "interlink_edge_control_refused_total";
/// Keys that tokens are checked with.
pub const KEYS: &str = "interlink_edge_keys";
/// Entries of the revocation list.
pub const REVOCATIONS: &str = "interlink_edge_revocations";
/// Time since the oldest key set was fetched.
pub const KEY_SET_AGE: &str = "interlink_edge_key_set_age_seconds";
/// Key and revocation files that were read again.
pub const KEY_RELOADS: &str = "interlink_edge_key_reloads_total";
/// Key and revocation files that could not be read again.
pub const KEY_RELOAD_FAILURES: &str = "interlink_edge_key_reload_failures_total";
/// Key sets that were fetched.
pub const KEY_SET_FETCHES: &str = "interlink_edge_key_set_fetches_total";
/// Fetches because of a token with an unknown key.
pub const KEY_SET_EARLY_FETCHES: &str = "interlink_edge_key_set_early_fetches_total";
/// Fetches of key sets that failed.
pub const KEY_SET_FAILURES: &str = "interlink_edge_key_set_failures_total";

/// Connections of the server API that are open now.
pub const API_CONNECTIONS: &str = "interlink_edge_api_connections_open";
/// Requests of the server API, by operation and status.
pub const API_REQUESTS: &str = "interlink_edge_api_requests_total";
/// Time of a request of the server API, by operation.
pub const API_LATENCY: &str = "interlink_edge_api_latency_seconds";
/// Events that the server API accepted.
pub const API_EVENTS: &str = "interlink_edge_api_events_accepted_total";
/// Events whose idempotency key had been accepted before.
pub const API_REPEATS: &str = "interlink_edge_api_events_repeated_total";
/// Requests and events that the server API refused, by error code.
pub const API_REFUSALS: &str = "interlink_edge_api_refusals_total";

/// Whether Redis answers.
pub const BACKPLANE_AWAY: &str = "interlink_edge_backplane_away";
/// Whether Kafka answers.
pub const LOG_AWAY: &str = "interlink_edge_log_away";
/// Classes of which Kafka keeps one copy.
pub const LOG_UNREPLICATED: &str = "interlink_edge_log_unreplicated";
/// Records that wait for their position.
pub const UNPLACED: &str = "interlink_edge_unplaced_records";
/// Whether records that wait for their position are read from the journal.
pub const UNPLACED_BEHIND: &str = "interlink_edge_unplaced_behind";
/// Records that wait for Kafka.
pub const UNFED: &str = "interlink_edge_unfed_records";
/// Whether records that wait for Kafka are read from the journal.
pub const UNFED_BEHIND: &str = "interlink_edge_unfed_behind";
/// Channels whose events are asked of Redis.
pub const WATCHED_CHANNELS: &str = "interlink_edge_watched_channels";
/// Records that got their position.
pub const PLACED: &str = "interlink_edge_placed_records_total";
/// Records that were submitted again since a server may have lost them.
pub const PLACED_AGAIN: &str = "interlink_edge_placed_again_records_total";
/// Calls to Redis that failed.
pub const CALLS_FAILED: &str = "interlink_edge_backplane_calls_failed_total";
/// Records that Kafka has.
pub const FED: &str = "interlink_edge_fed_records_total";
/// Events that Redis brought.
pub const BACKPLANE_EVENTS: &str = "interlink_edge_backplane_events_total";
/// Times that a channel went on elsewhere.
pub const SKIPS: &str = "interlink_edge_backplane_skips_total";
/// Other nodes with a lease.
pub const NODES: &str = "interlink_edge_cluster_nodes";
/// Leases that were not renewed.
pub const LEASES_FAILED: &str = "interlink_edge_leases_failed_total";
/// Frames that were not sent to another node.
pub const FRAMES_UNSENT: &str = "interlink_edge_node_frames_unsent_total";
/// Frames of other nodes that found no room.
pub const FRAMES_UNTAKEN: &str = "interlink_edge_node_frames_untaken_total";
/// Questions that the archive answered.
pub const ARCHIVE_ANSWERS: &str = "interlink_edge_archive_answers_total";
/// Questions that the archive could not answer.
pub const ARCHIVE_UNANSWERED: &str = "interlink_edge_archive_unanswered_total";
/// Cursors in the archive.
pub const CURSORS_ARCHIVED: &str = "interlink_edge_cursors_archived_total";
/// Cursors that wait for the archive.
pub const CURSORS_WAITING: &str = "interlink_edge_cursors_waiting";
/// Moves of cursors that found no room.
pub const CURSORS_LEFT_OUT: &str = "interlink_edge_cursors_left_out_total";
/// Pages of history for which Redis was not asked.
pub const HISTORIES_KEPT: &str = "interlink_edge_histories_from_memory_total";
/// State of the breaker of a system.
pub const BREAKER_STATE: &str = "interlink_edge_breaker_state";
/// Times that a breaker opened.
pub const BREAKER_OPENED: &str = "interlink_edge_breaker_opened_total";
/// Times that a connection was lost.
pub const BREAKER_LOST: &str = "interlink_edge_breaker_lost_total";
