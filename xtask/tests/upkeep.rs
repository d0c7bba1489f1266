//! What those who keep the project up go by names what is there: tables of files, workflows, the map's rooms.

use std::fs;

use xtask::filters::FILTERS;
use xtask::workspace::Workspace;

fn read(path: &str) -> String {
    let path = Workspace::here().root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files in the first column of the table below a heading.
fn table(page: &str, heading: &str) -> Vec<String> {
    let text = read(page);
    let (_, section) = text
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("{page} has no {heading}"));
    let section = section.split("\n#").next().unwrap();
    let rows = section
        .lines()
        .filter_map(|line| line.trim().strip_prefix("| `"));
    let files: Vec<_> = rows
        .map(|row| row.split('`').next().unwrap().to_owned())
        .collect();
    assert!(files.len() > 10, "{page}, {heading}: {files:?}");
    files
}

fn workflows() -> [String; 3] {
    ["checks", "fuzz", "release"].map(|name| read(&format!(".github/workflows/{name}.yml")))
}

/// A folder, a package and a type are called what the filter is called, each in its own way.
fn spellings(filter: &str) -> [String; 3] {
    let words = filter.split('_').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    [filter.to_owned(), filter.replace('_', "-"), words.collect()]
}

#[test]
fn a_plugins_name_stands_wherever_the_table_says() {
    let mut missing = Vec::new();
    for file in table("CONTRIBUTING.md", "### Where a plugin's name stands") {
        let text = read(&file);
        for filter in FILTERS.iter().filter(|filter| filter.name != "edge") {
            if !spellings(filter.name)
                .iter()
                .any(|name| text.contains(name))
            {
                missing.push(format!("{file}: {}", filter.name));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_version_is_the_same_wherever_the_table_says() {
    for file in table("RELEASING.md", "## The version") {
        assert!(read(&file).contains(env!("CARGO_PKG_VERSION")), "{file}");
    }
}

#[test]
fn what_is_merged_has_been_run_first() {
    let [checks, fuzz, _] = workflows();
    let has = |text: &str, wanted: &str| text.lines().any(|line| line.trim() == wanted);
    for wanted in [
        "push:",
        "pull_request:",
        "- run: .ci/run",
        "- run: cargo xtask spelling",
        "- run: cargo xtask docs",
    ] {
        assert!(has(&checks, wanted), "{wanted}");
    }
    assert!(has(&fuzz, "schedule:") && fuzz.contains("cargo xtask fuzz"));
}

#[test]
fn a_tag_is_released_by_the_command_that_anybody_can_try() {
    let [_, _, release] = workflows();
    for wanted in ["tags: [\"v*\"]", "run: cargo xtask release $DRY_RUN"] {
        assert!(release.contains(wanted), "{wanted}");
    }
    // What is pushed has been compared, and what may push runs for a tag alone.
    let (before, publish) = release.split_once("\n  publish:\n").unwrap();
    for acts in ["oras cp", "docker push", "cosign", "gh release", "write\n"] {
        assert!(publish.contains(acts) && !before.contains(acts), "{acts}");
    }
    for wanted in ["    if: github.ref_type == 'tag'\n", "    needs: compare\n"] {
        assert!(publish.contains(wanted), "{wanted}");
    }
}

#[test]
fn workflows_take_the_workspaces_compiler_and_pinned_actions_and_read_only_unless_a_job_says_so() {
    let compiler = env!("CARGO_PKG_RUST_VERSION");
    for workflow in workflows() {
        for wanted in [
            format!("rustup toolchain install {compiler} "),
            format!("rustup default {compiler}\n"),
            "\npermissions:\n  contents: read\n\n".to_owned(),
        ] {
            assert!(workflow.contains(&wanted), "{wanted}");
        }
        let actions = workflow
            .lines()
            .filter_map(|line| line.split_once("uses: "));
        for (_, action) in actions {
            let (_, pin) = action.split_once('@').expect(action);
            let (hash, version) = pin.split_once(" # v").expect(action);
            let is_hash = hash.len() == 40 && hash.chars().all(|c| c.is_ascii_hexdigit());
            assert!(is_hash && !version.is_empty(), "{action}");
        }
    }
}

#[test]
fn a_bug_can_be_one_of_any_filter() {
    let form = read(".github/ISSUE_TEMPLATE/bug.yml");
    for filter in FILTERS {
        assert!(
            form.contains(&format!("- {}\n", filter.name)),
            "{}",
            filter.name
        );
    }
}

#[test]
fn the_map_has_every_room_and_no_other() {
    let map = read("ARCHITECTURE.md");
    let rooms = map.split("```").nth(1).expect("the rooms");
    let rooms = rooms.lines().skip(1).filter(|line| !line.starts_with(' '));
    let rooms: Vec<&str> = rooms
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let root = Workspace::here().root().to_owned();
    for room in &rooms {
        assert!(root.join(room).exists(), "{room} is not there");
    }
    for entry in fs::read_dir(&root).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let is_room = entry.path().is_dir() && !name.starts_with('.') && name != "target";
        assert!(!is_room || rooms.contains(&&*format!("{name}/")), "{name}");
    }
}
