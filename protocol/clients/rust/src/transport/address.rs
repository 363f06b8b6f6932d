//! Where a server is.
//!
//! Purpose: the parts of a `ws://` address. TLS is not spoken by this version: an address with
//! `wss` is refused instead of being used without protection.
//! Runs on: any thread; plain values.

use crate::error::Error;

/// Path of the protocol's endpoint, for addresses without one.
const DEFAULT_PATH: &str = "/v1/connect";
/// Port of the scheme `ws` (RFC 6455 section 3).
const DEFAULT_PORT: u16 = 80;

/// A checked address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Name or number of the host, without brackets.
    pub(crate) host: Box<str>,
    /// Port.
    pub(crate) port: u16,
    /// Host as the `Host` header names it, with a port that is not the scheme's own.
    pub(crate) authority: Box<str>,
    /// Path and query.
    pub(crate) path: Box<str>,
}

impl Address {
    /// Checks an address.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Address(text.into());
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        let rest = text.strip_prefix("ws://").filter(|_| printable);
        let rest = rest.ok_or_else(wrong)?;
        let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_at);
        if path.contains('#') || authority.contains('@') {
            return Err(wrong());
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(literal) => {
                let (host, after) = literal.split_once(']').ok_or_else(wrong)?;
                (
                    host,
                    after.strip_prefix(':').or(after.is_empty().then_some("")),
                )
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, Some("")),
            },
        };
        let port = match port.ok_or_else(wrong)? {
            "" => DEFAULT_PORT,
            number => number.parse().map_err(|_| wrong())?,
        };
        if host.is_empty() || port == 0 {
            return Err(wrong());
        }
        let path = match path {
            "" | "/" => DEFAULT_PATH.into(),
            query if query.starts_with('?') => format!("{DEFAULT_PATH}{query}"),
            path => path.to_string(),
        };
        Ok(Self {
            host: host.into(),
            port,
            authority: authority.into(),
            path: path.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, u16, String, String) {
        let address = Address::parse(text).unwrap();
        (
            address.host.into(),
            address.port,
            address.authority.into(),
            address.path.into(),
        )
    }

    #[test]
    fn an_address_without_a_path_means_the_endpoint_of_the_protocol() {
        for text in ["ws://127.0.0.1:8080", "ws://127.0.0.1:8080/"] {
            let (host, port, authority, path) = parts(text);
            assert_eq!((host.as_str(), port), ("127.0.0.1", 8_080));
            assert_eq!(
                (authority.as_str(), path.as_str()),
                ("127.0.0.1:8080", "/v1/connect")
            );
        }
    }

    #[test]
    fn hosts_ports_and_paths_are_told_apart() {
        assert_eq!(parts("ws://edge.example/x?y=1").1, 80);
        assert_eq!(parts("ws://edge.example/x?y=1").3, "/x?y=1");
        assert_eq!(parts("ws://edge.example?y=1").3, "/v1/connect?y=1");
        let (host, port, authority, _) = parts("ws://[::1]:9000");
        assert_eq!((host.as_str(), port), ("::1", 9_000));
        assert_eq!(authority, "[::1]:9000");
        assert_eq!(parts("ws://[::1]").1, 80);
    }

    #[test]
    fn unusable_addresses_are_refused() {
        for text in [
            "",
            "127.0.0.1:8080",
            "http://127.0.0.1",
            "wss://127.0.0.1",
            "ws://",
            "ws://:80",
            "ws://host:port",
            "ws://host:0",
            "ws://host:65536",
            "ws://user@host",
            "ws://host/#part",
            "ws://ho st",
            "ws://host\r\nX: y",
            "ws://[::1",
            "ws://[::1]80",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }
}
