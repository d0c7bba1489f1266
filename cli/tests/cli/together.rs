//! Files of which one says what holds for another.

use crate::command::{fixture, portcullis, text, told};

fn told_of(files: &[&str]) -> Vec<String> {
    let files: Vec<String> = files
        .iter()
        .map(|file| fixture(&format!("kong/{file}")))
        .collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    told(&files)
}

/// `line:column code`
fn places(told: &[String]) -> Vec<&str> {
    let place = |line: &'_ String| line.match_indices(' ').nth(1).map(|(at, _)| at);
    let lines = told.iter();
    lines
        .map(|line| &line[..place(line).expect("a message")])
        .collect()
}

#[test]
fn a_declarative_file_alone_says_nothing_of_how_kong_is_started() {
    assert_eq!(told_of(&["kong.yml"]), [""; 0]);
}

#[test]
fn what_kong_is_started_with_holds_for_its_filters() {
    let small = told_of(&["kong.yml", "small.conf", "env.conf"]);
    assert_eq!(places(&small), ["12:92 P004", "3:32 P023"], "{small:#?}");
    assert!(
        small[0].contains("the variable HIDDEN") && small[1].contains("takes 8m"),
        "{small:#?}"
    );
    let none = told_of(&["kong.yml", "none.conf"]);
    assert_eq!(places(&none), ["7:13 P007", "2:15 P018"], "{none:#?}");
}

#[test]
fn variables_that_another_file_shows_are_not_missed() {
    let told = told_of(&["kong.yml", "small.conf"]);
    assert_eq!(places(&told), ["3:32 P023"], "{told:#?}");
}

#[test]
fn settings_are_no_file_without_a_filter() {
    let output = portcullis(&["check", &fixture("kong/small.conf")]);
    assert_eq!(text(&output.stderr), "");
    // Nothing goes by addresses there, and the comment allows nothing.
    assert!(text(&output.stdout).contains("warning[P005]"), "{output:?}");
}
