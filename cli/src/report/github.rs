//! Commands of GitHub's workflows.

use std::io::{self, Write};

use super::json::level;
use super::{Looked, all, page, region};

pub(super) fn write(looked: &[Looked], out: &mut dyn Write) -> io::Result<()> {
    for (source, finding) in all(looked) {
        let (start, end) = region(source, finding.place);
        let code = finding.code;
        writeln!(
            out,
            "::{} file={},line={},endLine={},col={},endColumn={end},title={}::{}",
            level(code.level()),
            property(&source.name),
            start.line,
            start.line,
            start.column,
            property(&format!("{}: {}", code.id(), code.title())),
            data(&format!("{} ({})", finding.message, page(code))),
        )?;
    }
    Ok(())
}

/// What stands behind the colons.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// What stands before them.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
