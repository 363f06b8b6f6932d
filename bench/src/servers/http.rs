//! One HTTP request to the edge's control address, and the metrics text.
//!
//! Limits: answers up to 16 MiB, two seconds.
//! Runs on: the bench's main thread, outside of measurements.

use anyhow::{bail, Context, Result};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Status and body of `GET path`.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("connecting to {address}"))?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .context("setting a time limit")?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .context("writing the request")?;
    let mut answer = String::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut answer)
        .context("reading the answer")?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("the answer of {address}{path} has no body");
    };
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Ok((status, body.to_owned()))
}

/// The sum of a metric over all its labels; `None` when the text has none of this name.
pub fn metric(text: &str, name: &str) -> Option<f64> {
    let mut sum = None;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name) else {
            continue;
        };
        if !rest.starts_with([' ', '{']) {
            continue;
        }
        let value = rest.rsplit_once('}').map_or(rest, |(_, value)| value);
        if let Some(value) = value
            .split_whitespace()
            .next()
            .and_then(|text| text.parse().ok())
        {
            sum = Some(sum.unwrap_or(0.0) + f64::max(value, 0.0));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# TYPE x counter\nx{shard=\"0\"} 3\nx{shard=\"1\"} 4.5\nx_total 100\nxy 7\n";
        assert_eq!(metric(text, "x"), Some(7.5));
        assert_eq!(metric(text, "x_total"), Some(100.0));
        assert_eq!(metric(text, "z"), None);
    }

    #[test]
    fn status_and_body_are_told_apart() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let count = stream.read(&mut request).unwrap();
            assert!(request[..count].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream
                .write_all(b"HTTP/1.1 503 no\r\nContent-Length: 3\r\n\r\nno\n")
                .unwrap();
        });
        assert_eq!(get(address, "/readyz").unwrap(), (503, "no\n".to_owned()));
        server.join().unwrap();
    }
}
