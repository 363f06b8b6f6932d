//! What can be wrong with a network path, and whom it concerns.
//!
//! Purpose: faults as words, so that a scenario, the control line of a proxy and a history name
//! them alike.
//!
//! Runs on: any thread; plain values.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a path does to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Hands them on.
    Pass,
    /// Hands them on after this time, in both directions.
    Delay(Duration),
    /// Takes them and throws them away, as a path that loses everything. A connection that lost
    /// bytes is reset when the fault ends, since its streams have holes.
    Drop,
    /// Resets every connection, and each new one.
    Reset,
    /// The server sees the end of the connection, the client sees nothing. Reset when it ends.
    HalfOpen,
    /// Reads nothing, so that buffers fill. What waits goes on when the fault ends.
    Stall,
}

/// Which connections are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All, new ones too.
    All,
    /// Those that are open when the fault begins.
    Open,
    /// Those that are open and have subscribed to something.
    Subscribers,
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it does.
    pub kind: Kind,
    /// To whom.
    pub scope: Scope,
}

impl Fault {
    /// No fault.
    pub const NONE: Self = Self {
        kind: Kind::Pass,
        scope: Scope::All,
    };

    /// A fault of every connection.
    pub fn all(kind: Kind) -> Self {
        let scope = Scope::All;
        Self { kind, scope }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Pass => f.write_str("heal")?,
            Kind::Delay(time) => write!(f, "delay {}", time.as_millis())?,
            Kind::Drop => f.write_str("drop")?,
            Kind::Reset => f.write_str("reset")?,
            Kind::HalfOpen => f.write_str("half-open")?,
            Kind::Stall => f.write_str("stall")?,
        }
        f.write_str(match self.scope {
            Scope::All => "",
            Scope::Open => " open",
            Scope::Subscribers => " subscribers",
        })
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no fault; examples: heal, delay 50, stall subscribers");
        let mut words = text.split_ascii_whitespace();
        let kind = match words.next() {
            Some("heal") => Kind::Pass,
            Some("delay") => {
                let time = words.next().and_then(|word| word.parse().ok());
                Kind::Delay(Duration::from_millis(time.ok_or_else(wrong)?))
            }
            Some("drop") => Kind::Drop,
            Some("reset") => Kind::Reset,
            Some("half-open") => Kind::HalfOpen,
            Some("stall") => Kind::Stall,
            _ => return Err(wrong()),
        };
        let scope = match words.next() {
            None => Scope::All,
            Some("open") => Scope::Open,
            Some("subscribers") => Scope::Subscribers,
            Some(_) => return Err(wrong()),
        };
        match words.next() {
            None => Ok(Self { kind, scope }),
            Some(_) => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_as_it_is_written() {
        let kinds = [
            Kind::Pass,
            Kind::Delay(Duration::from_millis(50)),
            Kind::Drop,
            Kind::Reset,
            Kind::HalfOpen,
            Kind::Stall,
        ];
        for kind in kinds {
            for scope in [Scope::All, Scope::Open, Scope::Subscribers] {
                let fault = Fault { kind, scope };
                assert_eq!(fault.to_string().parse(), Ok(fault));
            }
        }
        for text in ["", "delay", "delay x", "stall some", "heal open now"] {
            assert!(text.parse::<Fault>().is_err(), "{text:?}");
        }
    }
}
