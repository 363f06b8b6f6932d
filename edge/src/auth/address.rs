//! Where the key set of an issuer is fetched from.
//!
//! Invariant: an address comes from the configuration alone and is used exactly as it stands
//! there; nothing of a token, a key set or an answer changes it. Plain HTTP is for loopback
//! addresses only, since whoever changes a key set on its way can sign every token.
//! Runs on: the main thread parses, the control thread uses it.

use std::net::IpAddr;

use hyper::Uri;

/// An issuer and the URL of its key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// Value that `iss` of its tokens has to have.
    pub issuer: String,
    /// The URL.
    pub address: Address,
}

/// A URL that a key set may be fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
    is_tls: bool,
    port: u16,
}

impl KeySource {
    /// Reads "ISSUER URL".
    ///
    /// # Errors
    /// What is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [issuer, url] = words[..] else {
            return Err("it is not an issuer, a space and a URL");
        };
        Ok(Self {
            issuer: issuer.to_owned(),
            address: Address::parse(url)?,
        })
    }
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "its URL is not well formed")?;
        let authority = uri.authority().ok_or("its URL names no host")?;
        if authority.as_str().contains('@') || text.contains('#') {
            return Err("its URL holds a user or a fragment");
        }
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_loopback(authority.host()) => false,
            _ => return Err("its URL is neither https nor http to a loopback address"),
        };
        let port = authority
            .port_u16()
            .unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { uri, is_tls, port })
    }

    /// The host as a name or an address, without brackets.
    pub(super) fn host(&self) -> &str {
        let host = self.uri.host().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Path and query for the request line.
    pub(super) fn target(&self) -> &str {
        self.uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
    }

    /// Value of the `Host` header.
    pub(super) fn authority(&self) -> &str {
        self.uri
            .authority()
            .map_or("", |authority| authority.as_str())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.uri.fmt(f)
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_names_issuer_and_address() {
        let source = KeySource::parse("https://login.example https://login.example:8443/k?a=b");
        let source = source.expect("a source");
        assert_eq!(source.issuer, "https://login.example");
        let address = source.address;
        assert_eq!(
            (address.host(), address.port(), address.target()),
            ("login.example", 8443, "/k?a=b")
        );
        assert!(address.is_tls());
        let local = Address::parse("http://[::1]/keys").expect("loopback");
        assert_eq!((local.host(), local.port()), ("::1", 80));
    }

    #[test]
    fn addresses_that_could_be_changed_or_overheard_are_refused() {
        for host in [
            "login.example",
            "10.0.0.1",
            "localhost",
            "127.0.0.1.example",
            "169.254.9.9",
        ] {
            let url = format!("http://{host}/keys");
            assert!(Address::parse(&url).is_err(), "{url}");
        }
        let with_user = format!("https://{}@login.example/keys", "user:word");
        let wrong = [
            with_user.as_str(),
            "ftp://127.0.0.1/keys",
            "file:///etc/keys",
            "https://login.example/keys#a",
            "/keys",
            "login.example/keys",
            "",
        ];
        for url in wrong {
            assert!(Address::parse(url).is_err(), "{url}");
        }
        for text in ["", "issuer", "https://login.example", "a b c"] {
            assert!(KeySource::parse(text).is_err(), "{text}");
        }
    }
}
