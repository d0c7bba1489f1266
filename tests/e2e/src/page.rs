//! What stands on a page of the documentation: its commands as one script, its configurations.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::paths;

/// What the script begins with. What was started goes with it.
const BEGINNING: &str = r#"set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
opens() {
    for _ in $(seq 1200); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.1
    done
    echo "nothing opens port $1"
    exit 1
}
answers() { tee /dev/stderr | grep "^HTTP/1.1 $1 " >/dev/null; }
"#;

/// The `sh` blocks of a page behind a line that says how they run, in their order:
///
/// - `<!-- run -->`: to their end;
/// - `<!-- run: port 8000 -->`: beside the others, which begin when the port is open;
/// - `<!-- run: 401 -->`: the last command's answer has this status.
///
/// # Errors
/// A line has no such block, or says something else.
pub fn script(page: &str) -> Result<String> {
    let mut script = BEGINNING.to_owned();
    for block in page.split("<!-- run").skip(1) {
        let block = block
            .split_once(" -->\n```sh\n")
            .context("no block behind it")?;
        let (runs, rest) = (block.0.trim_start_matches(": "), block.1);
        let (commands, _) = rest.split_once("\n```\n").context("the block has no end")?;
        match runs.split_once(' ') {
            None if runs.is_empty() => writeln!(script, "{commands}")?,
            None => {
                let status: u16 = runs.parse().with_context(|| runs.to_owned())?;
                let (before, last) = commands.rsplit_once('\n').unwrap_or(("", commands));
                writeln!(script, "{before}\n{last} | answers {status}")?;
            }
            // In the place of the shell, so that it hears of the end itself.
            Some(("port", port)) => writeln!(script, "(exec {commands}) &\nopens {port}")?,
            Some(_) => bail!("not understood: {runs}"),
        }
    }
    Ok(script)
}

/// The `bash` blocks of `docs/<page>` behind a comment of these words, in their order.
///
/// # Errors
/// There is none.
pub fn blocks(page: &str, words: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(paths::repository().join("docs").join(page))?;
    let begin = format!("<!-- {words} -->\n```bash\n");
    let blocks = text.split(&begin).skip(1);
    let blocks = blocks.filter_map(|block| Some(block.split_once("\n```\n")?.0.to_owned()));
    let blocks: Vec<String> = blocks.collect();
    if blocks.is_empty() {
        bail!("docs/{page} has no block of {words:?}");
    }
    Ok(blocks)
}

/// The YAML blocks below a heading of `docs/<page>`, down to the next one of its level or above. `heading`: with its `##`.
///
/// # Errors
/// There is no such heading, a block is not YAML, or there are not so many.
pub fn configurations<const N: usize>(page: &str, heading: &str) -> Result<[Value; N]> {
    let text = std::fs::read_to_string(paths::repository().join("docs").join(page))?;
    let (_, section) = text
        .split_once(&format!("\n{heading}\n"))
        .with_context(|| format!("{page} has no {heading:?}"))?;
    let until = |text, next| str::split_once(text, next).map_or(text, |(text, _)| text);
    let mut section = until(section, "\n## ");
    if heading.starts_with("### ") {
        section = until(section, "\n### ");
    }
    let blocks = section.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split_once("```"));
    let blocks: Vec<Value> = blocks
        .map(|(block, _)| serde_saphyr::from_str(block))
        .collect::<Result<_, _>>()?;
    let found = blocks.len();
    let blocks = blocks.try_into().ok();
    blocks.with_context(|| format!("{heading:?} has {found} blocks, not {N}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_one_script() {
        let page = "a\n<!-- run -->\n```sh\nx=1\n```\n<!-- run: port 7 -->\n```sh\nserve $x\n```\nb\n\
                    ```sh\nnot this\n```\n<!-- run: 401 -->\n```sh\ny=2\ncurl $y\n```\n";
        let script = script(page).unwrap();
        let script = script.strip_prefix(BEGINNING).unwrap();
        assert_eq!(
            script,
            "x=1\n(exec serve $x) &\nopens 7\ny=2\ncurl $y | answers 401\n"
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for page in [
            "<!-- run -->\nno block\n",
            "<!-- run: x y -->\n```sh\na\n```\n",
            "<!-- run: x -->\n```sh\na\n```\n",
        ] {
            assert!(script(page).is_err(), "{page}");
        }
    }
}
