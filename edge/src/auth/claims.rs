//! Who a token says that its holder is.
//!
//! Runs on: any thread; plain values.

/// The identity of a client, from a checked user token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The user.
    pub user: String,
    /// The institution; empty when the token names none.
    pub institution: String,
    /// Departments of the user.
    pub departments: Vec<String>,
    /// Classes of the user.
    pub classes: Vec<String>,
    /// Roles of the user.
    pub roles: Vec<String>,
    /// When the identity ends, in seconds since 1970.
    pub expires_at_s: u64,
}
