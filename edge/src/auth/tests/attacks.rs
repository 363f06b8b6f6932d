//! Known attacks on tokens, one test each.
//!
//! Sources: RFC 8725 (JWT best current practices); CVE-2015-9235 (confusion of algorithms);
//! CVE-2018-0114 (key in the header); CVE-2022-21449 (zero signatures); CVE-2026-25537 (times
//! as text); CVE-2026-32301 and CVE-2026-49998 (key sets by unchecked claims, keys of another
//! issuer).

use super::*;

/// A token of any header, with the signature that `sign` makes.
fn forged(header: &Value, claims: &Value, sign: impl FnOnce(&str) -> String) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = sign(&signed);
    format!("{signed}.{signature}")
}

fn hmac(secret: &[u8], signed: &str) -> String {
    let key = EncodingKey::from_secret(secret);
    let algorithm = jsonwebtoken::Algorithm::HS256;
    jsonwebtoken::crypto::sign(signed.as_bytes(), &key, algorithm).expect("HMAC signs")
}

fn only(key: Key) -> Verifier {
    Verifier::of_keys(vec![key], "school", "interlink")
}

#[test]
fn a_public_key_is_no_secret_of_hs256() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let (_, public) = pair_of(algorithm);
        let verifier = only(read_one(&public));
        let body: String = public
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        let der = STANDARD.decode(body).expect("base64");
        for secret in [public.as_bytes(), public.trim().as_bytes(), &der] {
            let header = json!({ "alg": "HS256" });
            let token = forged(&header, &claims(), |signed| hmac(secret, signed));
            let error = verifier.user(&token, NOW);
            assert_eq!(error, Err(AuthError::Signature), "{algorithm}");
        }
    }
}

#[test]
fn a_token_cannot_choose_another_algorithm_of_its_key() {
    let (private, public) = pair_of(Algorithm::Rs256);
    let verifier = only(read_one(&public));
    let key = read_one(&private);
    let signing = key.signing().expect("a private key");
    for algorithm in [
        jsonwebtoken::Algorithm::RS384,
        jsonwebtoken::Algorithm::RS512,
        jsonwebtoken::Algorithm::PS256,
    ] {
        let token = encode(&Header::new(algorithm), &claims(), signing).expect("signed");
        assert_eq!(verifier.user(&token, NOW), Err(AuthError::Algorithm));
    }
    // The signature of RS256 under the name of ES256.
    let token = signed_by(&key, &claims());
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let payload = signed.split_once('.').expect("two parts").1;
    let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "ES256" }).to_string());
    let token = format!("{header}.{payload}.{signature}");
    assert_eq!(verifier.user(&token, NOW), Err(AuthError::Signature));
}

#[test]
fn a_zero_signature_is_refused() {
    for (algorithm, len) in [
        (Algorithm::Es256, 64),
        (Algorithm::EdDsa, 64),
        (Algorithm::Rs256, 256),
        (Algorithm::Hs256, 32),
    ] {
        let key = match algorithm {
            Algorithm::Hs256 => hs256(1),
            algorithm => read_one(&pair_of(algorithm).1),
        };
        let header = json!({ "alg": algorithm.name() });
        for len in [0, len] {
            let token = forged(&header, &claims(), |_| URL_SAFE_NO_PAD.encode(vec![0; len]));
            let error = only(key.clone()).user(&token, NOW);
            assert_eq!(error, Err(AuthError::Signature), "{algorithm}");
        }
    }
}

#[test]
fn a_key_in_the_header_is_not_used() {
    let (own, public) = pair_of(Algorithm::EdDsa);
    let own = read_one(&own);
    let signing = own.signing().expect("a private key");
    let verifier = only(read_one(&pair_of(Algorithm::EdDsa).1));
    let jwk = jwk_of(Algorithm::EdDsa, &public);
    let address = "http://127.0.0.1:9/keys";
    for extra in [
        json!({ "jwk": jwk }),
        json!({ "jku": address }),
        json!({ "x5u": address }),
        json!({ "x5c": ["AAAA"], "x5t": "AAAA" }),
    ] {
        let mut header = json!({ "alg": "EdDSA", "kid": "theirs" });
        let members = extra.as_object().expect("object").clone();
        header.as_object_mut().expect("object").extend(members);
        let token = forged(&header, &claims(), |signed| {
            let algorithm = jsonwebtoken::Algorithm::EdDSA;
            jsonwebtoken::crypto::sign(signed.as_bytes(), signing, algorithm).expect("signed")
        });
        assert_eq!(verifier.user(&token, NOW), Err(AuthError::Signature));
    }
}

#[test]
fn a_kid_is_a_name_and_neither_path_nor_query() {
    let key = hs256(1).named(Some("one".into()));
    let asked = std::sync::Arc::<Asked>::default();
    let set = KeySet::local("school", vec![key]);
    let verifier = Verifier::new(vec![set], "interlink", std::sync::Arc::clone(&asked));
    for kid in [
        "../../dev/null",
        "/dev/null",
        "one' UNION SELECT 'x",
        "one\u{0}",
        "http://127.0.0.1:9/keys",
        "ONE",
        "",
    ] {
        // The file /dev/null and an empty secret would both make this signature.
        for secret in [&b""[..], &secret(1)] {
            let header = json!({ "alg": "HS256", "kid": kid });
            let token = forged(&header, &claims(), |signed| hmac(secret, signed));
            assert_eq!(
                verifier.user(&token, NOW),
                Err(AuthError::Signature),
                "{kid}"
            );
        }
    }
    for kid in [
        json!("k".repeat(129)),
        json!(7),
        json!(["one"]),
        json!({ "a": 1 }),
    ] {
        let header = json!({ "alg": "HS256", "kid": kid });
        let token = forged(&header, &claims(), |signed| hmac(&secret(1), signed));
        assert_eq!(
            verifier.user(&token, NOW),
            Err(AuthError::Malformed),
            "{kid}"
        );
    }
    // Nothing of this made anybody look for keys.
    assert_eq!(asked.pop(), None);
}

#[test]
fn repeated_members_of_the_header_are_refused() {
    for header in [
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"["HS256",null,null]"#,
    ] {
        let payload = URL_SAFE_NO_PAD.encode(claims().to_string());
        let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header));
        let token = format!("{signed}.{}", hmac(&secret(1), &signed));
        let error = verifier().user(&token, NOW);
        assert_eq!(error, Err(AuthError::Malformed), "{header}");
    }
}

#[test]
fn the_key_of_one_issuer_signs_no_token_of_another() {
    let asked = std::sync::Arc::<Asked>::default();
    let named = |byte| hs256(byte).named(Some("same".into()));
    let sets = vec![
        KeySet::local("north", vec![named(1)]),
        KeySet::local("south", vec![named(2)]),
    ];
    let verifier = Verifier::new(sets, "interlink", asked);
    let check = |byte, issuer: &str| {
        let token = signed_by(&named(byte), &with("iss", json!(issuer)));
        verifier.user(&token, NOW).map(|token| token.claims.user)
    };
    assert_eq!(check(1, "north"), Ok("ada".to_owned()));
    assert_eq!(check(2, "south"), Ok("ada".to_owned()));
    assert_eq!(check(1, "south"), Err(AuthError::Issuer));
    assert_eq!(check(2, "north"), Err(AuthError::Issuer));
    let grant = json!({ "sub": "ada", "channel": "collab.d", "exp": NOW + 9, "iss": "south" });
    let token = signed_by(&named(1), &grant);
    let error = verifier.subscription(&token, "ada", "collab.d", NOW);
    assert_eq!(error, Err(AuthError::Issuer));
}

#[test]
fn a_flood_of_unknown_kids_is_told_within_a_bound() {
    let asked = std::sync::Arc::<Asked>::default();
    let (private, public) = pair_of(Algorithm::EdDsa);
    let private = read_one(&private);
    let set = KeySet {
        issuer: "school".into(),
        keys: vec![read_one(&public).named(Some("known".into()))],
        remote: Some(Remote {
            is_known: true,
            absent: vec![key_set::kid_hash("absent")],
        }),
    };
    let verifier = Verifier::new(vec![set], "interlink", std::sync::Arc::clone(&asked));
    let check = |kid: &str| {
        let key = private.clone().named(Some(kid.into()));
        verifier.user(&signed_by(&key, &claims()), NOW).map(|_| ())
    };
    assert_eq!(check("known"), Ok(()));
    assert_eq!(check("absent"), Err(AuthError::Signature));
    assert_eq!(asked.pop(), None);
    for number in 0..1_000 {
        assert_eq!(check(&number.to_string()), Err(AuthError::KeyUnknown));
    }
    let told = std::iter::from_fn(|| asked.pop()).count();
    assert_eq!(told, limits::UNKNOWN_KIDS_MAX);
    // A made-up kid of an algorithm that no key set brings asks for nothing.
    let header = json!({ "alg": "HS256", "kid": "x" });
    let token = forged(&header, &claims(), |signed| hmac(b"guess", signed));
    assert_eq!(verifier.user(&token, NOW), Err(AuthError::Signature));
    assert_eq!(asked.pop(), None);
}

#[test]
fn oversized_tokens_are_refused_before_anything_is_parsed() {
    let mut large = claims();
    large["class"] = json!(vec!["x".repeat(60); 200]);
    let token = signed(&large);
    assert!(token.len() > limits::TOKEN_BYTES_MAX);
    assert_eq!(verifier().user(&token, NOW), Err(AuthError::Malformed));
}

#[test]
fn deep_and_strange_payloads_are_refused() {
    let sign = |payload: &str| {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
        format!("{signed}.{}", hmac(&secret(1), &signed))
    };
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    for payload in [
        &deep,
        &format!("{{\"sub\":{deep}}}"),
        "null",
        "[]",
        "\"text\"",
        "{\"exp\":1e400}",
        "{\"exp\":NaN}",
        "{",
    ] {
        let error = verifier().user(&sign(payload), NOW);
        assert!(matches!(error, Err(AuthError::Claim(_))), "{error:?}");
    }
}

/// 20,000 tokens, each with one byte replaced, removed or doubled.
#[test]
fn no_changed_token_is_accepted() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    const CHANGES: usize = 5_000;
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \0";
    let mut random = StdRng::seed_from_u64(7);
    for algorithm in Algorithm::ALL {
        let key = match algorithm {
            Algorithm::Hs256 => hs256(1),
            algorithm => read_one(&pair_of(algorithm).0),
        };
        let verifier = only(key.clone().named(Some("one".into())));
        let token = signed_by(&key.named(Some("one".into())), &claims());
        assert!(verifier.user(&token, NOW).is_ok());
        for _ in 0..CHANGES {
            let mut changed = token.clone().into_bytes();
            let at = random.random_range(0..changed.len());
            match random.random_range(0..4) {
                0 => drop(changed.remove(at)),
                1 => changed.insert(at, changed[at]),
                _ => changed[at] = letters[random.random_range(0..letters.len())],
            }
            let changed = String::from_utf8(changed).expect("ASCII");
            if changed != token {
                assert!(verifier.user(&changed, NOW).is_err(), "{changed}");
            }
        }
    }
}
