//! `Hello` and `Refresh`: what is checked around the token.
//!
//! The caller verifies the token's signature and fills [`Claims`]; this file checks everything
//! that needs no key: version, lengths, times and that a refresh keeps its user.
//! Runs on: the thread that accepted the connection, later the home thread.

use interlink_wire as wire;

use crate::claims::{Claims, ClaimsView};
use crate::ids::{InstanceId, Position, SessionKey};
use crate::limits;
use crate::{CloseCode, ErrorCode};

/// A well-formed `Hello` whose token has not been looked at.
#[derive(Clone, Copy, Debug)]
pub struct HelloRequest<'a> {
    /// The user token.
    pub token: &'a str,
    /// Identity of the SDK object.
    pub instance: InstanceId,
    /// Identity of the device; empty when it has none.
    pub device: &'a str,
    /// Name of the client software.
    pub client_name: &'a str,
    /// Version of the client software.
    pub client_version: &'a str,
    /// The earlier session, when the client continues one.
    pub session: Option<SessionKey>,
    /// The frame, for the positions of the earlier session.
    frame: wire::Hello<'a>,
}

impl<'a> HelloRequest<'a> {
    /// The position of each channel that the client wants to continue.
    pub fn positions(&self) -> impl Iterator<Item = (&'a str, Position)> {
        let list = self.frame.resume().and_then(|resume| resume.positions());
        list.into_iter()
            .flatten()
            .map(|entry| (entry.channel(), entry.position().into()))
    }
}

/// Checks the form of a `Hello`.
pub fn check_hello<'a>(hello: &wire::Hello<'a>) -> Result<HelloRequest<'a>, ErrorCode> {
    if hello.version() != limits::PROTOCOL_VERSION {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let labels = [hello.device(), hello.client_name(), hello.client_version()];
    if labels
        .iter()
        .flatten()
        .any(|label| label.len() > limits::LABEL_BYTES)
    {
        return Err(ErrorCode::InvalidRequest);
    }
    let instance = InstanceId::from(hello.instance());
    if instance == InstanceId(0) {
        // Instances are random; zero means that the client has no source of randomness, and
        // two such clients would take each other's publishes for repeats.
        return Err(ErrorCode::InvalidRequest);
    }
    check_token_length(hello.token())?;
    Ok(HelloRequest {
        token: hello.token(),
        instance,
        device: hello.device().unwrap_or_default(),
        client_name: hello.client_name().unwrap_or_default(),
        client_version: hello.client_version().unwrap_or_default(),
        session: hello
            .resume()
            .map(|resume| SessionKey::from(resume.session())),
        frame: *hello,
    })
}

/// Checks the length of a user token before anything parses it.
pub fn check_token_length(token: &str) -> Result<(), ErrorCode> {
    if token.is_empty() || token.len() > limits::TOKEN_BYTES {
        return Err(ErrorCode::TokenInvalid);
    }
    Ok(())
}

/// Checks the claims of a verified token at `now_s`, in seconds since the Unix epoch.
pub fn check_claims(claims: &Claims, now_s: u64) -> Result<(), ErrorCode> {
    claims.check().map_err(|_| ErrorCode::TokenInvalid)?;
    if claims.expires_at_s <= now_s {
        return Err(ErrorCode::TokenExpired);
    }
    Ok(())
}

/// Checks the claims of a refreshed token against those of the connection.
pub fn check_refresh(
    current: &dyn ClaimsView,
    fresh: &Claims,
    now_s: u64,
) -> Result<(), ErrorCode> {
    check_claims(fresh, now_s)?;
    if current.user() != fresh.user || current.institution() != fresh.institution {
        return Err(ErrorCode::UserChanged);
    }
    Ok(())
}

/// How a connection ends whose `Hello` was refused with `code`.
pub const fn close_code(code: ErrorCode) -> CloseCode {
    match code {
        ErrorCode::UnsupportedVersion => CloseCode::UnsupportedVersion,
        ErrorCode::TokenExpired | ErrorCode::TokenNotYetValid => CloseCode::TokenExpired,
        ErrorCode::TokenRevoked => CloseCode::TokenRevoked,
        ErrorCode::TokenInvalid | ErrorCode::TokenWrongAudience | ErrorCode::UserChanged => {
            CloseCode::TokenInvalid
        }
        ErrorCode::AuthenticationUnavailable | ErrorCode::Unavailable => CloseCode::Unavailable,
        ErrorCode::Overloaded | ErrorCode::RateLimited => CloseCode::Overloaded,
        ErrorCode::Draining => CloseCode::Draining,
        ErrorCode::UnexpectedFrame => CloseCode::UnexpectedFrame,
        ErrorCode::Internal => CloseCode::InternalError,
        _ => CloseCode::MalformedFrame,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{decode_client, ClientFrame, FrameEncoder, FrameLimits};
    use crate::frame::{HelloFields, ResumeFields};

    fn fields() -> HelloFields<'static> {
        HelloFields {
            token: "token",
            instance: InstanceId(1),
            device: Some("tablet"),
            client_name: None,
            client_version: None,
            resume: None,
        }
    }

    fn check(fields: &HelloFields<'_>) -> Result<usize, ErrorCode> {
        let mut encoder = FrameEncoder::new();
        match decode_client(encoder.hello(fields), &FrameLimits::HELLO).unwrap() {
            ClientFrame::Hello(hello) => check_hello(&hello).map(|hello| hello.positions().count()),
            other => panic!("not a hello: {}", other.kind()),
        }
    }

    #[test]
    fn a_hello_is_read_with_its_positions() {
        assert_eq!(check(&fields()), Ok(0));
        let positions = [("class.a", Position::ZERO), ("class.b", Position::ZERO)];
        let resume = ResumeFields {
            session: SessionKey(9),
            positions: &positions,
        };
        assert_eq!(
            check(&HelloFields {
                resume: Some(resume),
                ..fields()
            }),
            Ok(2)
        );
    }

    #[test]
    fn fields_out_of_bounds_are_refused() {
        let invalid = Err(ErrorCode::InvalidRequest);
        assert_eq!(
            check(&HelloFields {
                instance: InstanceId(0),
                ..fields()
            }),
            invalid
        );
        let label = "l".repeat(limits::LABEL_BYTES + 1);
        assert_eq!(
            check(&HelloFields {
                device: Some(&label),
                ..fields()
            }),
            invalid
        );
        let refused = Err(ErrorCode::TokenInvalid);
        assert_eq!(
            check(&HelloFields {
                token: "",
                ..fields()
            }),
            refused
        );
        let token = "t".repeat(limits::TOKEN_BYTES + 1);
        assert_eq!(
            check(&HelloFields {
                token: &token,
                ..fields()
            }),
            refused
        );
    }

    #[test]
    fn a_token_ends_at_its_second() {
        let claims = Claims {
            user: "ada".into(),
            expires_at_s: 100,
            ..Claims::default()
        };
        assert_eq!(check_claims(&claims, 99), Ok(()));
        assert_eq!(check_claims(&claims, 100), Err(ErrorCode::TokenExpired));
    }

    #[test]
    fn a_refresh_keeps_its_user() {
        let ada = Claims {
            user: "ada".into(),
            expires_at_s: 100,
            ..Claims::default()
        };
        let later = Claims {
            expires_at_s: 200,
            ..ada.clone()
        };
        assert_eq!(check_refresh(&ada, &later, 150), Ok(()));
        let eve = Claims {
            user: "eve".into(),
            ..later.clone()
        };
        assert_eq!(check_refresh(&ada, &eve, 150), Err(ErrorCode::UserChanged));
        let moved = Claims {
            institution: "south".into(),
            ..later
        };
        assert_eq!(
            check_refresh(&ada, &moved, 150),
            Err(ErrorCode::UserChanged)
        );
    }

    #[test]
    fn a_refusal_that_may_pass_lets_the_client_reconnect() {
        for code in ErrorCode::ALL {
            let close = close_code(code);
            if code.is_temporary() && close != CloseCode::MalformedFrame {
                assert!(close.reconnects(), "{code:?} closes with {close:?}");
            }
        }
        assert!(!close_code(ErrorCode::TokenInvalid).reconnects());
        assert!(close_code(ErrorCode::TokenExpired).reconnects());
    }
}
