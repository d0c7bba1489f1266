//! The tables of `docs/performance.md`, which are also what a person at a terminal reads.

use std::fmt;

use super::row::{Row, rows};
use super::{Report, Run};
use crate::native::measure::Figure;
use crate::native::tokens::{JWT_COMPACT, jwt_compact_name};
use crate::parts::Part;
use crate::run::{Measured, Plan};
use crate::stats::Estimate;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.run)?;
        for measured in &self.parts {
            table(f, measured, &self.native)?;
        }
        jwt_compact(f, &self.native)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { starts, rounds, .. } = self.plan;
        let times = |count| {
            if count == 1 {
                "once".to_owned()
            } else {
                format!("{count} times")
            }
        };
        writeln!(
            f,
            "Measured on {} in {} min, with Envoy {}, on {} cores ({}). Each gateway was started {}, with {rounds} rounds of {} ms each.",
            self.date,
            self.took.as_secs().div_ceil(60),
            self.envoy,
            self.cores,
            self.processor,
            times(starts),
            self.plan.slice.as_millis(),
        )?;
        if self.plan != Plan::FULL {
            writeln!(f, "\nThis was a short run: its figures stray.")?;
        }
        Ok(())
    }
}

fn table(f: &mut fmt::Formatter<'_>, measured: &Measured, native: &[Figure]) -> fmt::Result {
    let Part {
        title, added_to, ..
    } = &measured.part;
    writeln!(f, "\n### {title}\n")?;
    writeln!(f, "µs of CPU for each request; *added* is to {added_to}.\n")?;
    let rows = rows(measured);
    let figure = |row: &Row<'_>| native.iter().find(|figure| figure.name == row.subject.name);
    let has_native = rows.iter().any(|row| figure(row).is_some());
    let (head, rule) = if has_native {
        (" native |", " --- |")
    } else {
        ("", "")
    };
    writeln!(f, "| | `--only` | whole | added | times |{head}")?;
    writeln!(f, "| --- | --- | --- | --- | --- |{rule}")?;
    for row in &rows {
        let times: Vec<_> = row
            .times
            .iter()
            .map(|(other, times)| format!("{} `{other}`", ratio(*times)))
            .collect();
        write!(
            f,
            "| {} | `{}` | {} | {} | {} |",
            row.subject.shown.as_deref().unwrap_or_default(),
            row.subject.name,
            micros(row.whole.value),
            row.added.map(range).unwrap_or_default(),
            times.join("; "),
        )?;
        if has_native {
            let native = figure(row).map(|figure| format!("{:.2}", figure.price));
            write!(f, " {} |", native.unwrap_or_default())?;
        }
        writeln!(f)?;
    }
    Ok(())
}

/// The same tokens by another library, as native code.
fn jwt_compact(f: &mut fmt::Formatter<'_>, native: &[Figure]) -> fmt::Result {
    let price = |name: &str| {
        native
            .iter()
            .find(|figure| figure.name == name)
            .map(|figure| figure.price)
    };
    let rows = JWT_COMPACT.iter().filter_map(|algorithm| {
        Some((
            algorithm,
            price(algorithm)?,
            price(&jwt_compact_name(algorithm))?,
        ))
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        f,
        "\nThe same tokens by jwt-compact's own backends, both as native code:\n"
    )?;
    writeln!(
        f,
        "| | jwt-compact's | ours | times |\n| --- | --- | --- | --- |"
    )?;
    for (algorithm, ours, theirs) in rows {
        writeln!(
            f,
            "| {algorithm} | {theirs:.1} | {ours:.1} | {:.2} |",
            ours / theirs
        )?;
    }
    Ok(())
}

/// To a tenth, which is more than most of them are good for; large ones to the whole.
fn micros(value: f64) -> String {
    if value.abs() < 1_000.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

fn range(estimate: Estimate) -> String {
    let Estimate { value, low, high } = estimate;
    format!("{} ({} to {})", micros(value), micros(low), micros(high))
}

fn ratio(estimate: Estimate) -> String {
    let Estimate { value, low, high } = estimate;
    format!("{value:.2} ({low:.2} to {high:.2})")
}
