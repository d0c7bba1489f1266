//! The pages about the command: what they show is what comes.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::command::text;

/// With `PORTCULLIS_SCREENS=write`, what comes is written into the pages.
const SCREENS: &str = "PORTCULLIS_SCREENS";

const PAGES: [&str; 2] = ["docs/try.md", "docs/token.md"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A line that a person types at the root of the repository.
fn typed(line: &str) -> Command {
    let folder = Path::new(env!("CARGO_BIN_EXE_portcullis"))
        .parent()
        .expect("a folder");
    let path = std::env::var("PATH").expect("a path");
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(root());
    command.env("PATH", format!("{}:{path}", folder.display()));
    command
}

/// What comes on the screen after a line that a person types.
fn shown(output: &Output) -> String {
    let both = [text(&output.stdout), text(&output.stderr)].concat();
    both.trim_end().to_owned()
}

/// The page with what comes now in place of what stands below each command.
fn as_it_is(page: &str) -> String {
    let mut written = String::new();
    let mut lines = page.lines().peekable();
    let mut is_screen = false;
    while let Some(line) = lines.next() {
        written.push_str(line);
        written.push('\n');
        if line.starts_with("```") {
            is_screen = line == "```console";
        }
        let Some(line) = line.strip_prefix("$ ").filter(|_| is_screen) else {
            continue;
        };
        while lines
            .next_if(|line| !line.starts_with("```") && !line.starts_with("$ "))
            .is_some()
        {}
        let output = typed(line).output().expect("it runs");
        written.push_str(&shown(&output));
        written.push('\n');
    }
    written
}

#[test]
fn the_screens_of_the_pages_are_what_comes() {
    for name in PAGES {
        let path = root().join(name);
        let page = fs::read_to_string(&path).expect("a page");
        let now = as_it_is(&page);
        if std::env::var(SCREENS).is_ok_and(|what| what == "write") {
            fs::write(&path, &now).expect("written");
        }
        for (number, (stands, comes)) in (1..).zip(page.lines().zip(now.lines())) {
            assert_eq!(
                stands, comes,
                "{name}:{number}; {SCREENS}=write writes what comes"
            );
        }
        assert_eq!(page.lines().count(), now.lines().count(), "{name}");
    }
}

#[test]
fn the_cases_of_the_pages_come_as_they_say() {
    let mut count = 0;
    for name in PAGES {
        let page = fs::read_to_string(root().join(name)).expect("a page");
        for block in page.split("<!-- cases -->\n```yaml\n").skip(1) {
            let cases = block.split("```").next().expect("a block");
            let mut command = typed("portcullis test -");
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut running = command.spawn().expect("it runs");
            let mut stdin = running.stdin.take().expect("an input");
            stdin.write_all(cases.as_bytes()).expect("written");
            drop(stdin);
            let output = running.wait_with_output().expect("it ends");
            assert!(output.status.success(), "{name}: {}", text(&output.stdout));
            count += 1;
        }
    }
    assert!(count > 0, "no page has cases");
}
