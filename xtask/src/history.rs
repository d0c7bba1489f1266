//! What each release cost, as the bench measured it: a row for each version in `docs/performance-history.md`.

use anyhow::{Context as _, Result};

/// Where the rows are.
pub const PAGE: &str = "docs/performance-history.md";

/// What is kept, by the names for `--only`.
pub const ROWS: [&str; 9] = [
    "bare",
    "native",
    "edge",
    "module",
    "four",
    "jwt_auth",
    "rate_limit",
    "circuit_breaker",
    "service_token",
];

/// The row of a version, from the tables that the bench writes: when and with what it was measured, what the bare gateway took as a
/// whole, and what each of the others added to it.
///
/// # Errors
/// The tables lack a figure.
pub fn row(version: &str, tables: &str) -> Result<String> {
    let measured = tables
        .lines()
        .find_map(|line| line.strip_prefix("Measured on "));
    let measured = measured.context("the tables do not say when they were measured")?;
    let date = measured.split(' ').next().unwrap_or_default();
    let envoy = measured.split_once("with Envoy ").map(|(_, rest)| rest);
    let envoy = envoy.and_then(|rest| rest.split(',').next());
    let envoy = envoy.context("the tables do not say with which Envoy")?;
    let figures = ROWS.map(|name| figure(name, tables));
    let figures = figures.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(format!(
        "| {version} | {date} | {envoy} | {} |",
        figures.join(" | ")
    ))
}

/// Of the bare gateway what it took, of any other what it added.
fn figure<'a>(name: &str, tables: &'a str) -> Result<&'a str> {
    let mark = format!("| `{name}` |");
    let line = tables
        .lines()
        .find_map(|line| Some(line.split_once(&mark)?.1));
    let mut cells = line
        .with_context(|| format!("the tables have no {name}"))?
        .split('|');
    let cell = if name == "bare" {
        cells.next()
    } else {
        cells.nth(1)
    };
    let figure = cell.and_then(|cell| cell.split_whitespace().next());
    figure.with_context(|| format!("the tables have no figure of {name}"))
}

/// The page with a version's row: in the place of the one that it has, or first.
///
/// # Errors
/// The page has no table.
pub fn with_row(page: &str, version: &str, row: &str) -> Result<String> {
    let begin = format!("| {version} |");
    let mut lines: Vec<&str> = page
        .lines()
        .filter(|line| !line.starts_with(&begin))
        .collect();
    let head = lines.iter().position(|line| line.starts_with("| --- |"));
    let head = head.with_context(|| format!("{PAGE} has no table"))?;
    lines.insert(head.saturating_add(1), row);
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "# History\n\n| version | measured |\n| --- | --- |\n| 0.2.0 | b |\n| 0.1.0 | a |\n";

    #[test]
    fn a_versions_row_takes_the_place_of_its_own_and_comes_first() {
        let again = with_row(PAGE, "0.2.0", "| 0.2.0 | c |").unwrap();
        assert_eq!(again, PAGE.replace("| b |", "| c |"));
        let next = with_row(PAGE, "0.3.0", "| 0.3.0 | d |").unwrap();
        assert_eq!(next, PAGE.replace("| 0.2.0", "| 0.3.0 | d |\n| 0.2.0"));
        assert!(with_row("# Nothing", "0.1.0", "").is_err());
    }
}
