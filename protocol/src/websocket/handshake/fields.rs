//! The header lines of a parsed head, looked up by name under strict rules.
//!
//! Runs on: any thread.

use httparse::Header;

use super::HandshakeError;

/// The header lines of one head.
#[derive(Clone, Copy)]
pub(super) struct Fields<'h, 'b> {
    lines: &'h [Header<'b>],
}

impl<'h, 'b> Fields<'h, 'b> {
    pub(super) const fn new(lines: &'h [Header<'b>]) -> Self {
        Fields { lines }
    }

    /// The values of every line called `name`, in order.
    pub(super) fn all(self, name: &'static str) -> impl Iterator<Item = &'b [u8]> + 'h {
        let named = move |line: &&Header<'b>| line.name.eq_ignore_ascii_case(name);
        self.lines.iter().filter(named).map(|line| line.value)
    }

    /// The value of the line called `name`, if there is one; a second one is `error`, and so is
    /// a value outside of printable ASCII.
    pub(super) fn at_most_one(
        self,
        name: &'static str,
        error: HandshakeError,
    ) -> Result<Option<&'b str>, HandshakeError> {
        let mut values = self.all(name);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() || !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(error);
        }
        std::str::from_utf8(value).map(Some).map_err(|_| error)
    }

    /// Whether a comma-separated list called `name` holds `token`, in any line and any case.
    pub(super) fn list_has(self, name: &'static str, token: &str) -> bool {
        self.all(name)
            .flat_map(list_members)
            .any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// The members of a comma-separated list (RFC 9110 section 5.6.1), empty ones left out.
pub(super) fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let trimmed = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    trimmed.filter(|member| !member.is_empty())
}

/// A token of RFC 9110 section 5.6.2 as text.
pub(super) fn token(bytes: &[u8]) -> Option<&str> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if bytes.is_empty() || !bytes.iter().all(is_token) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}
