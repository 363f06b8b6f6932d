//! Plans and results as tables.

use std::fmt;

use super::cluster::Done;
use super::plan::{Plan, Step};
use super::wanted::Wanted;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.lines.iter().map(|line| line.wanted.name.len());
        let width = names.max().unwrap_or(0).max("topic".len());
        let heads = ("partitions", "replicas", "in sync", "kept");
        write!(f, "{:width$}  {:>10}  {:>8}", "topic", heads.0, heads.1)?;
        write!(f, "  {:>7}  {:>6}  step", heads.2, heads.3)?;
        for line in &self.lines {
            let Wanted {
                name,
                partitions,
                replication,
                min_insync,
                retention_ms,
                ..
            } = &line.wanted;
            for (number, step) in line.steps.iter().enumerate() {
                writeln!(f)?;
                if number == 0 {
                    let hours = format!("{} h", retention_ms / 3_600_000);
                    write!(f, "{name:width$}  {partitions:>10}  {replication:>8}")?;
                    write!(f, "  {min_insync:>7}  {hours:>6}  {step}")?;
                } else {
                    let blank = width + 39;
                    write!(f, "{:blank$}  {step}", "")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("nothing"),
            Self::Create => f.write_str("create"),
            Self::Grow { from } => write!(f, "add partitions to {from}"),
            Self::Alter { changes, .. } => {
                f.write_str("set")?;
                for (number, (name, before, after)) in changes.iter().enumerate() {
                    let comma = if number == 0 { "" } else { "," };
                    write!(f, "{comma} {name} from {before} to {after}")?;
                }
                Ok(())
            }
            Self::Refuse { cause, cure } => write!(f, "REFUSED: {cause}. {cure}"),
        }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            created,
            grown,
            altered,
            kept,
            refused,
        } = self;
        write!(
            f,
            "created {created}, grown {grown}, altered {altered}, kept {kept}, refused {refused}"
        )
    }
}
