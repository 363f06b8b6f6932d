//! Claims in one block of bytes.
//!
//! Purpose: a node holds claims for every session. Owned strings would cost 24 bytes a name
//! beside their text; packed, a student of one department and three classes takes about 60.
//! Users of one class often share everything but their name and expiry, so the shared part is
//! a type of its own that can be interned.
//!
//! Layout of [`Membership`]: institution, then departments, classes and roles, each list as a
//! count and its names; counts and lengths are one byte. [`PackedClaims`] puts the expiry
//! (8 bytes, little-endian) and the user before that.

use super::{Claims, ClaimsError, ClaimsView};

/// Institution, departments, classes and roles of a user; equal for users who share them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Membership(Box<[u8]>);

impl Membership {
    /// Packs the shared part of checked claims.
    pub fn pack(claims: &Claims) -> Result<Self, ClaimsError> {
        claims.check()?;
        let mut bytes = Vec::new();
        write_membership(&mut bytes, claims);
        Ok(Self(bytes.into_boxed_slice()))
    }

    /// Bytes on the heap.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// A view with the part that belongs to one user.
    pub fn of<'a>(&'a self, user: &'a str, expires_at_s: u64) -> Member<'a> {
        Member {
            user,
            expires_at_s,
            membership: Reader(&self.0),
        }
    }
}

/// One user's claims over a shared [`Membership`].
#[derive(Clone, Copy)]
pub struct Member<'a> {
    user: &'a str,
    expires_at_s: u64,
    membership: Reader<'a>,
}

/// The claims of one user in one block.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PackedClaims(Box<[u8]>);

const EXPIRY_LEN: usize = 8;

impl PackedClaims {
    /// Packs checked claims.
    pub fn pack(claims: &Claims) -> Result<Self, ClaimsError> {
        claims.check()?;
        let mut bytes = claims.expires_at_s.to_le_bytes().to_vec();
        write_text(&mut bytes, &claims.user);
        write_membership(&mut bytes, claims);
        Ok(Self(bytes.into_boxed_slice()))
    }

    /// Bytes on the heap.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// The block itself.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Replaces the expiry, after a refresh that changed nothing else.
    pub fn set_expires_at_s(&mut self, expires_at_s: u64) {
        self.0[..EXPIRY_LEN].copy_from_slice(&expires_at_s.to_le_bytes());
    }

    fn membership(&self) -> Reader<'_> {
        let mut reader = Reader(&self.0[EXPIRY_LEN..]);
        reader.text();
        reader
    }
}

fn write_membership(bytes: &mut Vec<u8>, claims: &Claims) {
    write_text(bytes, &claims.institution);
    for names in [&claims.departments, &claims.classes, &claims.roles] {
        bytes.push(names.len() as u8);
        names.iter().for_each(|name| write_text(bytes, name));
    }
}

/// Checked names have at most [`crate::limits::NAME_BYTES`], which fits the length byte.
fn write_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(text.len() as u8);
    bytes.extend_from_slice(text.as_bytes());
}

const _: () = assert!(crate::limits::NAME_BYTES <= u8::MAX as usize);
const _: () = assert!(super::NAMES_PER_LIST <= u8::MAX as usize);

/// The lists of a membership, in their order.
#[derive(Clone, Copy)]
enum List {
    Departments,
    Classes,
    Roles,
}

/// Walks over packed bytes, which only this module writes.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> usize {
        let (first, rest) = self
            .0
            .split_first()
            .expect("packed claims end after their last list");
        self.0 = rest;
        usize::from(*first)
    }

    fn text(&mut self) -> &'a [u8] {
        let len = self.byte();
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        text
    }

    /// Looks a name up in one list; `self` stands at the institution.
    fn holds(mut self, list: List, name: &str) -> bool {
        self.text();
        for _ in 0..list as usize {
            for _ in 0..self.byte() {
                self.text();
            }
        }
        (0..self.byte()).any(|_| self.text() == name.as_bytes())
    }

    fn into_text(mut self) -> &'a str {
        std::str::from_utf8(self.text()).expect("packed from text")
    }
}

impl ClaimsView for Member<'_> {
    fn user(&self) -> &str {
        self.user
    }

    fn institution(&self) -> &str {
        self.membership.into_text()
    }

    fn is_in_department(&self, department: &str) -> bool {
        self.membership.holds(List::Departments, department)
    }

    fn is_in_class(&self, class: &str) -> bool {
        self.membership.holds(List::Classes, class)
    }

    fn has_role(&self, role: &str) -> bool {
        self.membership.holds(List::Roles, role)
    }

    fn expires_at_s(&self) -> u64 {
        self.expires_at_s
    }
}

impl ClaimsView for PackedClaims {
    fn user(&self) -> &str {
        Reader(&self.0[EXPIRY_LEN..]).into_text()
    }

    fn institution(&self) -> &str {
        self.membership().into_text()
    }

    fn is_in_department(&self, department: &str) -> bool {
        self.membership().holds(List::Departments, department)
    }

    fn is_in_class(&self, class: &str) -> bool {
        self.membership().holds(List::Classes, class)
    }

    fn has_role(&self, role: &str) -> bool {
        self.membership().holds(List::Roles, role)
    }

    fn expires_at_s(&self) -> u64 {
        let mut bytes = [0; EXPIRY_LEN];
        bytes.copy_from_slice(&self.0[..EXPIRY_LEN]);
        u64::from_le_bytes(bytes)
    }
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Membership({} bytes)", self.0.len())
    }
}

impl std::fmt::Debug for PackedClaims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedClaims({})", self.user())
    }
}
