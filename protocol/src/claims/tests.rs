//! What the module promises, one test a promise.

use proptest::prelude::*;

use super::*;

fn student() -> Claims {
    Claims {
        user: "ada".into(),
        institution: "north".into(),
        departments: vec!["maths".into()],
        classes: vec!["algebra-1".into(), "logic".into(), "history".into()],
        roles: vec!["student".into()],
        expires_at_s: 1_900_000_000,
    }
}

#[test]
fn a_student_takes_few_bytes() {
    let membership = Membership::pack(&student()).unwrap();
    assert!(membership.size() <= 64, "{} bytes", membership.size());
}

#[test]
fn names_with_separators_are_refused() {
    let mut claims = student();
    claims.user = "ada~bob".into();
    assert_eq!(claims.check(), Err(ClaimsError::Name("sub")));
    let mut claims = student();
    claims.institution = "north.east".into();
    assert_eq!(claims.check(), Err(ClaimsError::Name("inst")));
    let mut claims = student();
    claims.departments.push("ma ths".into());
    assert_eq!(
        PackedClaims::pack(&claims).unwrap_err(),
        ClaimsError::Name("dept")
    );
}

#[test]
fn names_and_lists_end_at_their_bound() {
    let mut claims = student();
    claims.user = "u".repeat(limits::NAME_BYTES);
    assert_eq!(claims.check(), Ok(()));
    claims.user.push('u');
    assert_eq!(claims.check(), Err(ClaimsError::Name("sub")));
    let mut claims = student();
    claims.classes = vec!["c".into(); NAMES_PER_LIST];
    assert_eq!(claims.check(), Ok(()));
    claims.classes.push("c".into());
    assert_eq!(claims.check(), Err(ClaimsError::TooMany("class")));
}

#[test]
fn a_service_may_have_no_institution() {
    let claims = Claims {
        institution: String::new(),
        ..student()
    };
    assert_eq!(PackedClaims::pack(&claims).unwrap().institution(), "");
    let claims = Claims {
        user: String::new(),
        ..student()
    };
    assert_eq!(claims.check(), Err(ClaimsError::Name("sub")));
}

#[test]
fn a_refresh_replaces_the_expiry_alone() {
    let mut packed = PackedClaims::pack(&student()).unwrap();
    packed.set_expires_at_s(7);
    assert_eq!((packed.expires_at_s(), packed.user()), (7, "ada"));
}

fn name() -> impl Strategy<Value = String> {
    // Few letters, so that lookups often meet a name of another list.
    prop::collection::vec(prop::sample::select(vec!['a', 'b', 'c']), 1..3)
        .prop_map(|letters| letters.into_iter().collect())
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(name(), 0..5)
}

proptest! {
    #[test]
    fn packed_claims_answer_like_owned_ones(
        user in name(),
        institution in name(),
        departments in names(),
        classes in names(),
        roles in names(),
        expires_at_s: u64,
        asked in names(),
    ) {
        let claims = Claims { user, institution, departments, classes, roles, expires_at_s };
        let packed = PackedClaims::pack(&claims).unwrap();
        let membership = Membership::pack(&claims).unwrap();
        let member = membership.of(&claims.user, expires_at_s);
        for view in [&packed as &dyn ClaimsView, &member] {
            prop_assert_eq!(view.user(), &claims.user);
            prop_assert_eq!(view.institution(), &claims.institution);
            prop_assert_eq!(view.expires_at_s(), expires_at_s);
            for name in &asked {
                prop_assert_eq!(view.is_in_department(name), claims.departments.contains(name));
                prop_assert_eq!(view.is_in_class(name), claims.classes.contains(name));
                prop_assert_eq!(view.has_role(name), claims.roles.contains(name));
            }
        }
    }
}
