//! Rules of claims and of the form of tokens.

use interlink_protocol::ErrorCode;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::*;

#[test]
fn a_right_token_yields_its_claims() {
    let accepted = verifier().user(&signed(&claims()), NOW).expect("accepted");
    let accepted = accepted.claims;
    assert_eq!(accepted.user, "ada");
    assert_eq!(accepted.institution, "north");
    assert_eq!(accepted.departments, ["maths"]);
    assert_eq!(accepted.classes, ["m1", "m2"]);
    assert_eq!(accepted.roles, ["teacher"]);
    assert_eq!(accepted.expires_at_s, NOW + 60);
}

#[test]
fn every_configured_key_is_accepted_and_no_other() {
    let token = |key| signed_with(&Header::default(), &claims(), key);
    assert!(verifier().user(&token(2), NOW).is_ok());
    assert_eq!(verifier().user(&token(3), NOW), Err(AuthError::Signature));
}

#[test]
fn a_token_without_signature_is_refused() {
    let payload = URL_SAFE_NO_PAD.encode(claims().to_string());
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg, "typ": "JWT" }).to_string());
        for token in [
            format!("{header}.{payload}."),
            format!("{header}.{payload}"),
        ] {
            let error = verifier().user(&token, NOW).expect_err("no signature");
            assert!(
                matches!(error, AuthError::Algorithm | AuthError::Malformed),
                "{error}"
            );
        }
    }
    let token = signed(&claims());
    let (signed, _) = token.rsplit_once('.').expect("three parts");
    assert_eq!(
        verifier().user(&format!("{signed}."), NOW),
        Err(AuthError::Signature)
    );
}

#[test]
fn other_algorithms_are_refused_even_with_a_right_signature() {
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = signed_with(&Header::new(algorithm), &claims(), 1);
        assert_eq!(verifier().user(&token, NOW), Err(AuthError::Algorithm));
    }
    let (header, rest) = ("{\"alg\":\"RS256\"}", signed(&claims()));
    let (_, rest) = rest.split_once('.').expect("three parts");
    let token = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
    // A known algorithm of which there is no key.
    assert_eq!(verifier().user(&token, NOW), Err(AuthError::Signature));
}

#[test]
fn unknown_critical_headers_are_refused() {
    let header = Header {
        crit: Some(vec!["b64".to_owned()]),
        ..Header::default()
    };
    let token = signed_with(&header, &claims(), 1);
    assert_eq!(verifier().user(&token, NOW), Err(AuthError::Algorithm));
}

#[test]
fn a_changed_payload_breaks_the_signature() {
    let token = signed(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let other = URL_SAFE_NO_PAD.encode(with("sub", json!("eve")).to_string());
    let forged = format!("{}.{other}.{}", parts[0], parts[2]);
    assert_eq!(verifier().user(&forged, NOW), Err(AuthError::Signature));
}

#[test]
fn a_token_ends_at_its_second() {
    let token = signed(&with("exp", json!(NOW + 1)));
    assert!(verifier().user(&token, NOW).is_ok());
    assert_eq!(verifier().user(&token, NOW + 1), Err(AuthError::Expired));
    assert_eq!(AuthError::Expired.user_code(), ErrorCode::TokenExpired);
}

#[test]
fn not_before_has_a_leeway_of_thirty_seconds_and_no_more() {
    assert!(verifier()
        .user(&signed(&with("nbf", json!(NOW + 30))), NOW)
        .is_ok());
    assert_eq!(
        refusal(&with("nbf", json!(NOW + 31))),
        AuthError::NotYetValid
    );
    assert_eq!(
        AuthError::NotYetValid.user_code(),
        ErrorCode::TokenNotYetValid
    );
}

#[test]
fn times_are_numbers_and_expiry_is_required() {
    assert_eq!(refusal(&without("exp")), AuthError::Claim("exp"));
    let wrong = [
        json!((NOW + 60).to_string()),
        json!(true),
        json!([NOW + 60]),
        json!(-1),
        json!(1e300),
    ];
    for value in wrong {
        for claim in ["exp", "nbf"] {
            let error = refusal(&with(claim, value.clone()));
            assert!(
                matches!(error, AuthError::Claim(_)),
                "{claim} = {value}: {error}"
            );
        }
    }
    assert!(verifier()
        .user(&signed(&with("exp", json!(NOW as f64 + 1.5))), NOW)
        .is_ok());
}

#[test]
fn issuer_and_audience_are_required_and_compared() {
    assert_eq!(refusal(&with("iss", json!("other"))), AuthError::Issuer);
    assert_eq!(refusal(&with("aud", json!("other"))), AuthError::Audience);
    assert_eq!(
        refusal(&with("aud", json!(["a", "b"]))),
        AuthError::Audience
    );
    assert_eq!(refusal(&with("aud", json!([]))), AuthError::Audience);
    assert_eq!(refusal(&without("iss")), AuthError::Claim("iss"));
    assert_eq!(refusal(&without("aud")), AuthError::Claim("aud"));
    assert!(matches!(
        refusal(&with("iss", json!(["school"]))),
        AuthError::Claim(_)
    ));
    let many = signed(&with("aud", json!(["a", "interlink"])));
    assert!(verifier().user(&many, NOW).is_ok());
}

#[test]
fn names_that_could_not_stand_in_a_channel_name_are_refused() {
    for name in ["", "a b", "a/b", "ada~eve", "a\n", "ä", &"x".repeat(300)] {
        assert_eq!(
            refusal(&with("sub", json!(name))),
            AuthError::Claim("sub"),
            "{name:?}"
        );
    }
    assert_eq!(
        refusal(&with("class", json!(["m1", ""]))),
        AuthError::Claim("class")
    );
    let many: Vec<String> = (0..=interlink_protocol::claims::NAMES_PER_LIST)
        .map(|n| n.to_string())
        .collect();
    assert_eq!(
        refusal(&with("roles", json!(many))),
        AuthError::Claim("roles")
    );
}

#[test]
fn repeated_claims_are_refused() {
    let payload = format!("{{\"sub\":\"ada\",\"sub\":\"eve\",\"exp\":{}}}", NOW + 60);
    let header = URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\"}");
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
    let key = EncodingKey::from_secret(&secret(1));
    let signature =
        jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).expect("HMAC signs");
    let error = verifier().user(&format!("{signed}.{signature}"), NOW);
    assert!(matches!(error, Err(AuthError::Claim(_))), "{error:?}");
}

#[test]
fn texts_that_are_no_tokens_are_refused() {
    let long = "a".repeat(limits::TOKEN_BYTES_MAX + 1);
    for text in ["", ".", "..", "...", "a.b", "a.b.c.d", "é.é.é", &long] {
        assert!(verifier().user(text, NOW).is_err(), "{text:?}");
    }
}

#[test]
fn a_subscription_token_grants_one_channel_to_one_user() {
    let grant = SubscriptionGrant {
        user: "ada".to_owned(),
        channel: "collab.doc-1".to_owned(),
        expires_at_s: NOW + 60,
    };
    let token = mint_subscription(&hs256(1), &grant).expect("signed");
    let check = |user, channel, now| verifier().subscription(&token, user, channel, now);
    assert_eq!(check("ada", "collab.doc-1", NOW), Ok(NOW + 60));
    assert_eq!(
        check("eve", "collab.doc-1", NOW),
        Err(AuthError::OtherGrant)
    );
    assert_eq!(
        check("ada", "collab.doc-2", NOW),
        Err(AuthError::OtherGrant)
    );
    assert_eq!(
        check("ada", "collab.doc-1", NOW + 120),
        Err(AuthError::Expired)
    );
    assert_eq!(
        verifier().user(&token, NOW),
        Err(AuthError::Claim("channel"))
    );
}

#[test]
fn a_user_token_is_no_subscription_token() {
    let token = signed(&claims());
    let error = verifier().subscription(&token, "ada", "collab.doc-1", NOW);
    assert_eq!(error, Err(AuthError::Claim("channel")));
    let foreign = signed(&json!({
        "sub": "ada", "channel": "collab.d", "exp": NOW + 60, "aud": "other",
    }));
    let error = verifier().subscription(&foreign, "ada", "collab.d", NOW);
    assert_eq!(error, Err(AuthError::Audience));
}

#[test]
fn minted_user_tokens_are_accepted() {
    let grant = UserGrant {
        user: "ada".to_owned(),
        classes: vec!["m1".to_owned()],
        issuer: "school".to_owned(),
        audience: "interlink".to_owned(),
        not_before_s: NOW,
        expires_at_s: NOW + 10,
        ..UserGrant::default()
    };
    let accepted = verifier()
        .user(&mint_user(&hs256(2), &grant).expect("signed"), NOW)
        .expect("accepted")
        .claims;
    assert_eq!((accepted.user.as_str(), accepted.classes.len()), ("ada", 1));
}

#[test]
fn identity_and_issue_time_mark_a_token_for_revocation() {
    let mark = |claims: &serde_json::Value| {
        let token = verifier().user(&signed(claims), NOW).expect("accepted");
        token.mark
    };
    assert_eq!(mark(&claims()), TokenMark::default());
    let mut full = with("jti", json!("t-1"));
    full["iat"] = json!(NOW - 5);
    full["nbf"] = json!(NOW - 9);
    let first = mark(&full);
    assert_eq!(u64::from(first.issued_at_s), NOW - 5);
    full["jti"] = json!("t-2");
    assert_ne!(mark(&full).id, first.id);
    let issued = u64::from(mark(&with("nbf", json!(NOW - 9))).issued_at_s);
    assert_eq!(issued, NOW - 9);
    for wrong in [json!(""), json!("x".repeat(129))] {
        assert_eq!(refusal(&with("jti", wrong)), AuthError::Claim("jti"));
    }
    for wrong in [json!(7), json!(["t-1"])] {
        assert!(matches!(refusal(&with("jti", wrong)), AuthError::Claim(_)));
    }
}
