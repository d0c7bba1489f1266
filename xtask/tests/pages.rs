//! What pages point to: each link leads to a file that is there, and to a heading of it; each command is one; each file that is
//! named is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;
use xtask::cli::Cli;

/// The plugin that `CONTRIBUTING.md` adds, for instance.
const ADDED: &str = "maintenance";

/// What pages name that is no file of ours: secrets, which a command writes, and a chart of Kong's.
const ELSEWHERE: [&str; 3] = ["envoy/.env", "kong/.env", "kong/ingress"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn pages() -> Vec<PathBuf> {
    let pages = ["", "docs", ".github"].into_iter().flat_map(files);
    pages
        .filter(|path| path.extension().is_some_and(|ext| ext == "md"))
        .collect()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect(folder);
    entries.map(|entry| entry.expect("a file").path()).collect()
}

/// The text without what stands between fences.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// What stands between backticks.
fn spans(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

/// The arguments of each `cargo xtask` in what a person types.
fn commands(typed: &str) -> Vec<Vec<&str>> {
    let lines = typed
        .lines()
        .flat_map(|line| line.split("cargo xtask ").skip(1));
    lines
        .map(|line| {
            let command = line.split(['|', '&', ';', '>', ')', '#', '`']).next();
            let words = command.unwrap_or_default().split_whitespace();
            words.map(|word| word.trim_matches('"')).collect()
        })
        .collect()
}

/// Whether xtask takes it: as it stands, or once its words in capitals, and those of the shell, are something.
fn is_command(arguments: &[&str]) -> bool {
    let stands_for_another = |word: &&str| {
        word.starts_with('$') || word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    let Err(error) = Cli::try_parse_from([&["cargo xtask"], arguments].concat()) else {
        return true;
    };
    match error.kind() {
        // What a page speaks of, and does not show.
        ErrorKind::MissingRequiredArgument
        | ErrorKind::DisplayHelp
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => true,
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            arguments.iter().any(stands_for_another)
        }
        // A variable of the shell's that may hold an option, or nothing.
        ErrorKind::UnknownArgument => {
            let rest = arguments.iter().filter(|word| !word.starts_with('$'));
            let rest: Vec<_> = rest.copied().collect();
            rest.len() < arguments.len() && is_command(&rest)
        }
        _ => false,
    }
}

/// What GitHub calls a heading.
fn anchor(heading: &str) -> String {
    let mut text = String::new();
    let mut rest = heading;
    // Of a link its words.
    while let Some((before, link)) = rest.split_once('[') {
        let (words, behind) = link.split_once(']').unwrap_or((link, ""));
        text.push_str(before);
        text.push_str(words);
        rest = match behind
            .strip_prefix('(')
            .and_then(|link| link.split_once(')'))
        {
            Some((_, behind)) => behind,
            None => behind,
        };
    }
    text.push_str(rest);
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || "_- ".contains(*c));
    kept.flat_map(char::to_lowercase)
        .collect::<String>()
        .replace(' ', "-")
}

fn anchors(page: &Path) -> BTreeSet<String> {
    let text =
        fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let prose = prose(&text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = prose(&fs::read_to_string(&page).expect("a page"));
        for link in text.split("](").skip(1) {
            let link = link.split([')', ' ']).next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().expect("a folder").join(path),
            };
            let known = target.exists()
                && (heading.is_empty()
                    || target.extension().is_none_or(|ext| ext != "md")
                    || anchors(&target).contains(heading));
            if !known {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_of_a_page_and_of_a_workflow_is_one() {
    let mut wrong = Vec::new();
    for path in pages().into_iter().chain(files(".github/workflows")) {
        let text = fs::read_to_string(&path).expect("a file");
        // In prose a command may go on in the next line.
        let prose = prose(&text);
        let typed = spans(&prose).map(|span| span.replace('\n', " "));
        let lines = text.lines().filter(|line| !line.starts_with("<!--"));
        let typed = typed.chain(lines.map(str::to_owned));
        for typed in typed {
            let commands = commands(&typed);
            let commands = commands.iter().filter(|command| !is_command(command));
            wrong.extend(commands.map(|command| format!("{}: {command:?}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_no_command_is_found_out() {
    let all = commands(
        "A=1 cargo xtask test --only STEP | tail; cargo xtask fuzz --seconds \"$N\" # an hour",
    );
    assert_eq!(
        all,
        [
            vec!["test", "--only", "STEP"],
            vec!["fuzz", "--seconds", "$N"]
        ]
    );
    assert!(all.iter().all(|command| is_command(command)));
    for wrong in [
        &["publish"][..],
        &["test", "--fast"],
        &["test", "--only", "lint"],
        &["fuzz", "--target", "nothing"],
    ] {
        assert!(!is_command(wrong), "{wrong:?}");
    }
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let folders = files("").into_iter().filter(|path| path.is_dir());
    let folders: BTreeSet<_> = folders
        .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
        .filter(|name| name != "target")
        .collect();
    let mut wrong = Vec::new();
    for page in pages() {
        let prose = prose(&fs::read_to_string(&page).expect("a page"));
        for name in spans(&prose) {
            let is_path = name
                .split_once('/')
                .is_some_and(|(folder, _)| folders.contains(folder))
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            let is_ours = !name.contains(ADDED) && !ELSEWHERE.contains(&name);
            if is_path && is_ours && !root().join(name).exists() {
                wrong.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_heading_is_called_as_github_calls_it() {
    for (heading, name) in [
        (
            "Why does this customer get 429?",
            "why-does-this-customer-get-429",
        ),
        ("`mode` and `on_error`", "mode-and-on_error"),
        ("From [Kong](x.md)'s own", "from-kongs-own"),
    ] {
        assert_eq!(anchor(heading), name);
    }
}
