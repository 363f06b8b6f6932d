//! Where a server is.
//!
//! Purpose: the parts of a `ws://` or `wss://` address, and the rule that a client which was
//! given the second is never led to the first.
//! Limits: `limits::ADDRESSES_MAX` addresses of one client.
//! Runs on: any thread; plain values.

use crate::error::Error;
use crate::limits;

/// Path of the protocol's endpoint, for addresses without one.
const DEFAULT_PATH: &str = "/v1/connect";
/// Ports of the schemes `ws` and `wss` (RFC 6455 section 3).
const DEFAULT_PORTS: [u16; 2] = [80, 443];

/// A checked address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Whether TLS is spoken.
    pub(crate) is_tls: bool,
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
    /// Checks the addresses of one client: at least one.
    pub(crate) fn parse_all(texts: &[String]) -> Result<Vec<Self>, Error> {
        if texts.is_empty() || texts.len() > limits::ADDRESSES_MAX {
            let text = format!(
                "there are {} and 1 to {} are allowed; name some of the nodes, or a load balancer",
                texts.len(),
                limits::ADDRESSES_MAX
            );
            return Err(Error::Addresses(text.into()));
        }
        let parsed: Result<Vec<Self>, Error> = texts.iter().map(|text| Self::parse(text)).collect();
        let parsed = parsed?;
        if parsed
            .iter()
            .any(|address| address.is_tls != parsed[0].is_tls)
        {
            let text = "some are with TLS and some without; write all of them with wss://";
            return Err(Error::Addresses(text.into()));
        }
        Ok(parsed)
    }

    /// Checks an address.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Address(text.into());
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        let plain = text.strip_prefix("ws://").map(|rest| (false, rest));
        let found = plain.or_else(|| Some((true, text.strip_prefix("wss://")?)));
        let (is_tls, rest) = found.filter(|_| printable).ok_or_else(wrong)?;
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
            "" => DEFAULT_PORTS[usize::from(is_tls)],
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
            is_tls,
            host: host.into(),
            port,
            authority: authority.into(),
            path: path.into(),
        })
    }

    /// Where the next attempt goes: to the server that was named, unless its address is unusable
    /// or would give up TLS; then to this one.
    pub(crate) fn or_named(&self, named: Option<&str>) -> Self {
        let named = named.and_then(|text| Self::parse(text).ok());
        named
            .filter(|named| named.is_tls || !self.is_tls)
            .unwrap_or_else(|| self.clone())
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
    fn tls_has_a_scheme_and_a_port_of_its_own() {
        assert!(!Address::parse("ws://edge.example").unwrap().is_tls);
        let address = Address::parse("wss://edge.example").unwrap();
        assert!(address.is_tls);
        assert_eq!(address.port, 443);
        assert_eq!(Address::parse("wss://edge.example:80").unwrap().port, 80);
    }

    #[test]
    fn a_client_with_tls_is_never_led_away_from_it() {
        let plain = Address::parse("ws://one").unwrap();
        let secure = Address::parse("wss://one").unwrap();
        let host = |own: &Address, named| String::from(own.or_named(named).host);
        assert_eq!(host(&plain, Some("ws://two")), "two");
        assert_eq!(host(&plain, Some("wss://two")), "two");
        assert_eq!(host(&secure, Some("wss://two")), "two");
        assert_eq!(host(&secure, Some("ws://two")), "one");
        assert_eq!(host(&secure, Some("two")), "one");
        assert_eq!(host(&secure, None), "one");
    }

    #[test]
    fn addresses_of_one_client_are_bounded_and_speak_tls_all_or_none() {
        let all = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|&text| text.into()).collect();
            Address::parse_all(&texts)
        };
        assert_eq!(
            all(&["ws://one", "ws://two"]).unwrap()[1].host.as_ref(),
            "two"
        );
        assert!(matches!(
            all(&["wss://one", "ws://two"]),
            Err(Error::Addresses(_))
        ));
        assert!(matches!(all(&["ws://one", "two"]), Err(Error::Address(_))));
        assert!(matches!(all(&[]), Err(Error::Addresses(_))));
        let many = vec!["ws://one"; limits::ADDRESSES_MAX + 1];
        assert!(matches!(all(&many), Err(Error::Addresses(_))));
        assert!(all(&many[1..]).is_ok());
    }

    #[test]
    fn unusable_addresses_are_refused() {
        for text in [
            "",
            "127.0.0.1:8080",
            "http://127.0.0.1",
            "wss:127.0.0.1",
            "wss://",
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
