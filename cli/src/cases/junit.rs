//! The report that CI systems read (JUnit's XML, as Jenkins and GitLab take it).

use std::io::{self, Write};

use super::run::Outcome;
use crate::source::Source;

/// Writes a suite for each file. `None`: of a file that could not be run, why.
///
/// # Errors
/// It can't be written.
pub fn write(
    suites: &[(Source, Result<Vec<Outcome>, String>)],
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(out, "<testsuites name=\"portcullis\">")?;
    for (source, ran) in suites {
        let file = escaped(&source.name);
        let outcomes = match ran {
            Ok(outcomes) => outcomes,
            Err(why) => {
                let why = escaped(why);
                writeln!(
                    out,
                    "  <testsuite name=\"{file}\" tests=\"1\" failures=\"0\" errors=\"1\">\n    <testcase name=\"{file}\" classname=\"{file}\">\n      <error message=\"it can't be run\">{why}</error>\n    </testcase>\n  </testsuite>"
                )?;
                continue;
            }
        };
        let failed = outcomes
            .iter()
            .filter(|outcome| !outcome.failures.is_empty());
        let (tests, failures) = (outcomes.len(), failed.count());
        writeln!(
            out,
            "  <testsuite name=\"{file}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">"
        )?;
        for outcome in outcomes {
            let (name, line) = (escaped(&outcome.name), source.line_of(outcome.place));
            let case = format!(
                "<testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{line}\""
            );
            if outcome.failures.is_empty() {
                writeln!(out, "    {case}/>")?;
                continue;
            }
            writeln!(out, "    {case}>")?;
            for failure in &outcome.failures {
                let line = source.line_of(failure.wrong.place);
                let message = escaped(&failure.wrong.message);
                writeln!(
                    out,
                    "      <failure message=\"{message}\">{file}:{line}: {message}</failure>"
                )?;
            }
            writeln!(out, "    </testcase>")?;
        }
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

/// What XML takes for text. Of control characters it takes none.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_xml_whatever_cases_are_called() {
        assert_eq!(
            escaped("a<b>&\"c\"\u{1b}\n"),
            "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}&#10;"
        );
    }
}
