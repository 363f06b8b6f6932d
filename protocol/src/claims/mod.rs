//! What a verified token says about its user.
//!
//! Purpose: the claims that permissions are decided from. Whoever verified the token fills
//! [`Claims`] and calls [`Claims::check`]; sessions keep a packed form.
//!
//! Invariants: checked names consist of the characters of channel ids; an institution has no
//! `.` and a user no `~`, since these separate names inside a channel id, and a name with a
//! separator in it could stand for somebody else's channel.
//! Limits: [`limits::NAME_BYTES`] a name, [`NAMES_PER_LIST`] names a list.
//! Runs on: any thread; plain values.

mod packed;

pub use packed::{Member, Membership, PackedClaims};

use crate::limits;

/// Most departments, classes or roles of a user; counts fit a byte.
pub const NAMES_PER_LIST: usize = 250;

/// Role of back ends.
pub const ROLE_SERVICE: &str = "service";
/// Role of people who run an institution.
pub const ROLE_STAFF: &str = "staff";
/// Role of people who teach.
pub const ROLE_TEACHER: &str = "teacher";
/// Role of people who run the system.
pub const ROLE_OPERATOR: &str = "operator";

/// The claims of a user token, owned.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Claims {
    /// The user (`sub`).
    pub user: String,
    /// The institution (`inst`); may be empty for services and operators.
    pub institution: String,
    /// Departments within the institution (`dept`).
    pub departments: Vec<String>,
    /// Classes (`class`).
    pub classes: Vec<String>,
    /// Roles (`roles`).
    pub roles: Vec<String>,
    /// End of the token in seconds since the Unix epoch (`exp`).
    pub expires_at_s: u64,
}

/// Why claims cannot be used. The token is refused as `token_invalid`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClaimsError {
    /// A name is empty, too long or has characters that channel names cannot hold.
    #[error(
        "claim {0} holds a name that is not 1 to {most} bytes of letters, digits and . _ - : @; \
         issue tokens with such names",
        most = limits::NAME_BYTES
    )]
    Name(&'static str),
    /// A list is too long.
    #[error(
        "claim {0} lists more than {most} names; issue tokens with fewer",
        most = NAMES_PER_LIST
    )]
    TooMany(&'static str),
}

impl Claims {
    /// Checks every name and list against the limits.
    pub fn check(&self) -> Result<(), ClaimsError> {
        check_name("sub", &self.user, b"")?;
        if !self.institution.is_empty() {
            check_name("inst", &self.institution, b".")?;
        }
        let lists = [
            ("dept", &self.departments),
            ("class", &self.classes),
            ("roles", &self.roles),
        ];
        for (claim, names) in lists {
            if names.len() > NAMES_PER_LIST {
                return Err(ClaimsError::TooMany(claim));
            }
            names
                .iter()
                .try_for_each(|name| check_name(claim, name, b""))?;
        }
        Ok(())
    }
}

/// Checks one name; `without` lists characters that this claim must not hold either.
fn check_name(claim: &'static str, name: &str, without: &[u8]) -> Result<(), ClaimsError> {
    let sized = !name.is_empty() && name.len() <= limits::NAME_BYTES;
    let allowed = |byte: u8| {
        let plain = byte.is_ascii_alphanumeric() || b"._-:@".contains(&byte);
        plain && !without.contains(&byte)
    };
    if sized && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(ClaimsError::Name(claim))
    }
}

/// Read access to claims, however they are stored.
pub trait ClaimsView {
    /// The user.
    fn user(&self) -> &str;
    /// The institution; empty when there is none.
    fn institution(&self) -> &str;
    /// True when the user belongs to the department of the own institution.
    fn is_in_department(&self, department: &str) -> bool;
    /// True when the user belongs to the class.
    fn is_in_class(&self, class: &str) -> bool;
    /// True when the user has the role.
    fn has_role(&self, role: &str) -> bool;
    /// End of the token in seconds since the Unix epoch.
    fn expires_at_s(&self) -> u64;
}

impl ClaimsView for Claims {
    fn user(&self) -> &str {
        &self.user
    }

    fn institution(&self) -> &str {
        &self.institution
    }

    fn is_in_department(&self, department: &str) -> bool {
        self.departments.iter().any(|name| name == department)
    }

    fn is_in_class(&self, class: &str) -> bool {
        self.classes.iter().any(|name| name == class)
    }

    fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|name| name == role)
    }

    fn expires_at_s(&self) -> u64 {
        self.expires_at_s
    }
}

#[cfg(test)]
mod tests;
