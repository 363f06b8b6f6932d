//! What went wrong with the database: the connection, its load, its set-up, or the values of a
//! request.
//!
//! A worker pauses for the first three and counts attempts for the last one only, so that a
//! database that is away makes no record a dead letter.
//! Sources: PostgreSQL 15 documentation, appendix A (SQLSTATE).

use deadpool_postgres::TimeoutType;
use tokio_postgres::error::SqlState;

use crate::archive::ArchiveError;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is overloaded or ended the call.
    #[error("PostgreSQL cannot be used now: {0}; it is tried again by itself")]
    Away(String),
    /// There is no connection: none can be made, or it has ended.
    #[error("PostgreSQL cannot be reached: {0}; it is tried again by itself")]
    Lost(String),
    /// The database is not as it must be.
    #[error(
        "PostgreSQL refuses: {0}; check the rights of the user, and that a process of this \
             version has brought the schema up to date"
    )]
    Setup(String),
    /// The values of this request are refused.
    #[error("PostgreSQL refuses the values: {0}")]
    Refused(String),
    /// What the answer depends on is not archived yet.
    #[error("the archive lags behind what was accepted; ask again later")]
    Behind,
}

impl StoreError {
    /// Whether the values of the request are at fault.
    pub fn is_of_the_record(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else {
            return Self::Lost(whole(&error));
        };
        judge(answer.code(), answer.message())
    }
}

impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => error.into(),
            deadpool_postgres::PoolError::Timeout(TimeoutType::Create) => Self::Lost(whole(&error)),
            other => Self::Away(whole(&other)),
        }
    }
}

impl From<StoreError> for ArchiveError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Away(cause) => Self::Away { cause },
            StoreError::Lost(cause) => Self::Lost { cause },
            StoreError::Setup(cause) => Self::Setup { cause },
            StoreError::Refused(cause) => Self::Refused { cause },
            StoreError::Behind => Self::Behind,
        }
    }
}

/// What an answer of the server means.
pub fn judge(code: &SqlState, message: &str) -> StoreError {
    let text = format!("{message} ({})", code.code());
    // No partition for a row: it is made by the next upkeep, the row is not at fault.
    if *code == SqlState::CHECK_VIOLATION && message.contains("partition") {
        return StoreError::Away(text);
    }
    let ends = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ];
    if ends.contains(code) {
        return StoreError::Lost(text);
    }
    match &code.code()[..2] {
        // Data, integrity, and what is too large.
        "22" | "23" | "54" => StoreError::Refused(text),
        // Connection, and then transaction conflicts, resources, operator, system, locks, internal.
        "08" => StoreError::Lost(text),
        "25" | "40" | "53" | "55" | "57" | "58" | "XX" => StoreError::Away(text),
        _ => StoreError::Setup(text),
    }
}

/// An error with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_are_held_against_a_record() {
        for (code, is_of_the_record) in [
            (SqlState::CHARACTER_NOT_IN_REPERTOIRE, true),
            (SqlState::NUMERIC_VALUE_OUT_OF_RANGE, true),
            (SqlState::UNIQUE_VIOLATION, true),
            (SqlState::PROGRAM_LIMIT_EXCEEDED, true),
            (SqlState::T_R_SERIALIZATION_FAILURE, false),
            (SqlState::T_R_DEADLOCK_DETECTED, false),
            (SqlState::LOCK_NOT_AVAILABLE, false),
            (SqlState::QUERY_CANCELED, false),
            (SqlState::ADMIN_SHUTDOWN, false),
            (SqlState::CANNOT_CONNECT_NOW, false),
            (SqlState::TOO_MANY_CONNECTIONS, false),
            (SqlState::DISK_FULL, false),
            (SqlState::READ_ONLY_SQL_TRANSACTION, false),
            (SqlState::CONNECTION_FAILURE, false),
            (SqlState::INSUFFICIENT_PRIVILEGE, false),
            (SqlState::UNDEFINED_TABLE, false),
            (SqlState::INVALID_PASSWORD, false),
        ] {
            let error = judge(&code, "m");
            assert_eq!(error.is_of_the_record(), is_of_the_record, "{error}");
        }
        let missing = judge(&SqlState::CHECK_VIOLATION, "no partition of relation");
        assert!(!missing.is_of_the_record());
        assert!(judge(&SqlState::CHECK_VIOLATION, "violates").is_of_the_record());
    }
}
