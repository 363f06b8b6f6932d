//! Where user tokens come from.
//!
//! Purpose: one token for the client's whole life, or a new one for each connection and before
//! the end of each.
//! Runs on: the client's task; a provider is awaited there.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::Loss;

/// What a token is wanted for: a connection, or the time after the end of the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// Attempts to connect since the last success; 0 for the first, and for a token that
    /// replaces the one of an open connection.
    pub attempt: u32,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not now; the client asks again with its next attempt.
    #[error("{0}")]
    Later(String),
    /// Never: the user has to sign in again. The client closes.
    #[error("{0}")]
    Denied(String),
}

impl From<std::io::Error> for TokenError {
    /// What went wrong outside may go well next time.
    fn from(error: std::io::Error) -> Self {
        Self::Later(error.to_string())
    }
}

type TokenFuture = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send>>;

/// A fixed token or a provider.
#[derive(Clone)]
pub(crate) enum TokenSource {
    Fixed(Box<str>),
    Provider(Arc<dyn Fn(TokenRequest) -> TokenFuture + Send + Sync>),
}

impl TokenSource {
    pub(crate) fn provider<F, P>(provider: P) -> Self
    where
        P: Fn(TokenRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        Self::Provider(Arc::new(move |request| Box::pin(provider(request))))
    }

    /// True when another attempt may bring another token.
    pub(crate) fn is_renewable(&self) -> bool {
        matches!(self, Self::Provider(_))
    }

    /// Asks for a token that replaces the one of an open connection; `None` when there is
    /// none now. A denial is told by the attempt that follows the end of the connection.
    pub(crate) async fn replacement(self) -> Option<Box<str>> {
        let token = self.token(TokenRequest { attempt: 0 }).await;
        token
            .inspect_err(|loss| tracing::debug!(%loss, "no token to refresh with"))
            .ok()
    }

    pub(crate) async fn token(&self, request: TokenRequest) -> Result<Box<str>, Loss> {
        match self {
            Self::Fixed(token) => Ok(token.clone()),
            Self::Provider(provider) => match provider(request).await {
                Ok(token) => Ok(token.into()),
                Err(TokenError::Later(text)) => Err(Loss::Token(text.into())),
                Err(TokenError::Denied(text)) => Err(Loss::TokenDenied(text.into())),
            },
        }
    }
}

impl fmt::Debug for TokenSource {
    /// Hides the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "TokenSource::Fixed(hidden)",
            Self::Provider(_) => "TokenSource::Provider",
        })
    }
}
