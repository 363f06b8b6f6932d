//! Rules of keys: their files, forms and errors.

use std::os::unix::fs::PermissionsExt;

use super::*;

const ASYMMETRIC: [Algorithm; 3] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256];

#[test]
fn a_private_key_signs_what_its_public_key_accepts() {
    for algorithm in ASYMMETRIC {
        let (private, public) = pair_of(algorithm);
        let (private, public) = (read_one(&private), read_one(&public));
        assert_eq!(private.algorithm(), algorithm);
        assert_eq!(public.algorithm(), algorithm);
        assert!(public.signing().is_none());
        let token = signed_by(&private, &claims());
        for key in [private, public.clone()] {
            let verifier = Verifier::of_keys(vec![key], "school", "interlink");
            let accepted = verifier.user(&token, NOW).expect("accepted");
            assert_eq!(accepted.claims.user, "ada", "{algorithm}");
        }
        let (_, other) = pair_of(algorithm);
        let verifier = Verifier::of_keys(vec![read_one(&other)], "school", "interlink");
        assert_eq!(verifier.user(&token, NOW), Err(AuthError::Signature));
        let grant = SubscriptionGrant {
            user: "ada".to_owned(),
            channel: "collab.d".to_owned(),
            expires_at_s: NOW + 1,
        };
        assert_eq!(mint_subscription(&public, &grant), Err(MintError));
    }
}

#[test]
fn a_set_of_keys_is_read_with_their_names() {
    let names = ["one", "two", "three"];
    let (mut keys, mut private) = (Vec::new(), Vec::new());
    for (algorithm, kid) in ASYMMETRIC.into_iter().zip(names) {
        let (own, public) = pair_of(algorithm);
        let mut jwk = jwk_of(algorithm, &public);
        jwk["kid"] = json!(kid);
        keys.push(jwk);
        private.push(read_one(&own));
    }
    let read = read(&json!({ "keys": keys }).to_string()).expect("a set");
    let found: Vec<Option<&str>> = read.iter().map(Key::kid).collect();
    assert_eq!(found, names.map(Some));
    let verifier = Verifier::of_keys(read, "school", "interlink");
    for (key, kid) in private.into_iter().zip(names) {
        let named = key.clone().named(Some(kid.into()));
        assert!(verifier.user(&signed_by(&named, &claims()), NOW).is_ok());
        // A token without kid is tried with every key of its algorithm.
        assert!(verifier.user(&signed_by(&key, &claims()), NOW).is_ok());
        let wrong = key.named(Some("four".into()));
        let error = verifier.user(&signed_by(&wrong, &claims()), NOW);
        assert_eq!(error, Err(AuthError::Signature));
    }
}

#[test]
fn private_jwks_sign() {
    // RFC 8037 appendix A.1 and RFC 7517 appendix A.2.
    let ed25519 = json!({
        "kty": "OKP", "crv": "Ed25519", "kid": "ed",
        "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    });
    let p256 = json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "kid": "ec", "alg": "ES256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
    });
    let oct = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(secret(9)), "alg": "HS256" });
    for jwk in [ed25519, p256, oct] {
        let key = read_one(&jwk.to_string());
        let token = signed_by(&key, &claims());
        let verifier = Verifier::of_keys(vec![key], "school", "interlink");
        assert!(verifier.user(&token, NOW).is_ok(), "{jwk}");
    }
}

#[test]
fn keys_that_no_algorithm_has_are_refused_with_a_reason() {
    let p384 = {
        let kind = &aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING;
        EcdsaKeyPair::generate_pkcs8(kind, &SystemRandom::new()).expect("a key")
    };
    let (private, public) = pair_of(Algorithm::EdDsa);
    let wrong = [
        pem_of("PRIVATE KEY", p384.as_ref()),
        pem_of("CERTIFICATE", b"x"),
        pem_of("EC PRIVATE KEY", b"x"),
        pem_of("PUBLIC KEY", b"x"),
        private.replace("END PRIVATE", "END PUBLIC"),
        format!("{private}{public}"),
        private[..60].to_owned(),
        json!({ "kty": "oct", "k": "AAAA" }).to_string(),
        json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(secret(9)), "alg": "RS256" }).to_string(),
        json!({ "kty": "OKP", "crv": "X25519", "x": "AAAA" }).to_string(),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }).to_string(),
        json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([255; 128]), "e": "AQAB" }).to_string(),
        json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" }).to_string(),
        json!({ "keys": [] }).to_string(),
        json!({ "keys": 7 }).to_string(),
        "{".to_owned(),
        STANDARD.encode([7; 16]),
        "not base64!".to_owned(),
        String::new(),
    ];
    for content in wrong {
        let error = read(&content).expect_err("no key").to_string();
        assert!(error.contains("openssl genpkey"), "{error}");
        assert!(content.len() < 40 || !error.contains(&content), "{error}");
    }
    assert!(Key::read_all(std::path::Path::new("/nonexistent/key")).is_err());
}

#[test]
fn an_issuers_set_may_hold_keys_that_are_not_for_us() {
    let (_, public) = pair_of(Algorithm::EdDsa);
    let usable = jwk_of(Algorithm::EdDsa, &public);
    let secret = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(secret(9)) });
    let strange = json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" });
    let mut encryption = usable.clone();
    encryption["use"] = json!("enc");
    let set = json!({ "keys": [secret, strange, encryption, &usable] }).to_string();
    let keys = jwk::keys_of_issuer(set.as_bytes()).expect("one key");
    let kinds: Vec<Algorithm> = keys.iter().map(Key::algorithm).collect();
    assert_eq!(kinds, [Algorithm::EdDsa]);
    let only_secret = json!({ "keys": [secret] }).to_string();
    assert!(jwk::keys_of_issuer(only_secret.as_bytes()).is_err());
    let many = json!({ "keys": vec![usable; 17] }).to_string();
    assert!(jwk::keys_of_issuer(many.as_bytes()).is_err());
}

#[test]
fn a_development_key_is_made_once_and_readable_by_its_owner_only() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("development.key");
    let (made, is_new) = Key::read_or_create(&path).expect("made");
    assert!(is_new);
    let mode = std::fs::metadata(&path).expect("file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).expect("text");
    assert_eq!(STANDARD.decode(text.trim()).expect("base64").len(), 32);
    let (read, is_new) = Key::read_or_create(&path).expect("read");
    assert!(!is_new);
    let other = directory.path().join("other.key");
    let (other, _) = Key::read_or_create(&other).expect("made");
    let token = signed_by(&made, &claims());
    let accepts = |key| Verifier::of_keys(vec![key], "school", "interlink").user(&token, NOW);
    assert!(accepts(read).is_ok());
    assert_eq!(accepts(other), Err(AuthError::Signature));
    let files = std::fs::read_dir(directory.path()).expect("directory");
    assert_eq!(files.count(), 2);
}

#[test]
fn a_key_never_shows_itself() {
    let shown = format!("{:?} {:?}", hs256(65), verifier());
    assert!(
        !shown.contains("65, 65") && !shown.contains("1, 1, 1"),
        "{shown}"
    );
    assert!(shown.contains("HS256"), "{shown}");
}
