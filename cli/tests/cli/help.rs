//! What a person is told of the commands themselves.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::command::{portcullis, text};

const COMMANDS: [&[&str]; 9] = [
    &["check"],
    &["explain"],
    &["try"],
    &["test"],
    &["token", "mint"],
    &["token", "explain"],
    &["keys"],
    &["completions"],
    &["man"],
];

#[test]
fn each_command_says_by_examples_what_it_is_for() {
    let output = portcullis(&["--help"]);
    for command in COMMANDS {
        assert!(text(&output.stdout).contains(command[0]), "{command:?}");
        let output = portcullis(&[command, &["--help"]].concat());
        let help = text(&output.stdout);
        let example = format!("portcullis {}", command.join(" "));
        let examples = help.split_once("Examples:").expect("examples").1;
        assert!(examples.contains(&example), "{help}");
        assert!(!help.contains('\u{1b}'), "colours in a pipe: {help}");
    }
}

#[test]
fn a_shell_completes_each_command() {
    for (shell, mark) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef portcullis"),
        ("fish", "complete -c portcullis"),
    ] {
        let output = portcullis(&["completions", shell]);
        let script = text(&output.stdout);
        assert!(script.contains(mark), "{shell}");
        for command in COMMANDS {
            assert!(script.contains(command[0]), "{shell}: {command:?}");
        }
    }
    assert_eq!(portcullis(&["completions", "csh"]).status.code(), Some(2));
}

#[test]
fn bash_takes_what_is_written_for_it() {
    let script = portcullis(&["completions", "bash"]).stdout;
    let mut bash = Command::new("bash");
    let bash = bash.arg("-n").stdin(Stdio::piped()).spawn();
    let Ok(mut bash) = bash else {
        return; // There is none here.
    };
    let mut input = bash.stdin.take().expect("an input");
    input.write_all(&script).expect("written");
    drop(input);
    assert!(bash.wait().expect("it ends").success());
}

#[test]
fn each_command_has_a_manual_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display().to_string();
    assert_eq!(portcullis(&["man", "--dir", &path]).status.code(), Some(0));
    for command in COMMANDS {
        let name = format!("portcullis-{}.1", command.join("-"));
        let page = fs::read_to_string(folder.path().join(&name)).expect("a page");
        assert!(page.contains("Examples:"), "{name}");
        let output = portcullis(&[&["man"], command].concat());
        assert_eq!(text(&output.stdout), page, "{name}");
    }
    let output = portcullis(&["man"]);
    assert!(text(&output.stdout).contains(".TH portcullis 1"));
    let output = portcullis(&["man", "token", "forge"]);
    assert!(text(&output.stderr).contains("forge is no command of token"));
    assert_eq!(output.status.code(), Some(2));
}
