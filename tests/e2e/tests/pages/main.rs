//! The pages that lead from nothing to a guarded request: their commands, as they are printed.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use portcullis_e2e::repository;

/// A block of commands, and what the line before it says of them.
struct Block<'a> {
    runs: &'a str,
    commands: &'a str,
}

/// The blocks behind lines `<!-- run… -->`.
fn blocks(page: &str) -> Result<Vec<Block<'_>>> {
    let blocks = page.split("<!-- run").skip(1).map(|rest| {
        let (runs, rest) = rest
            .split_once(" -->\n```sh\n")
            .context("no block behind it")?;
        let (commands, _) = rest.split_once("```\n").context("the block has no end")?;
        let runs = runs.trim_start_matches(": ");
        anyhow::Ok(Block { runs, commands })
    });
    blocks.collect()
}

/// All of a page's commands as one script. What goes on runs beside the others, and ends with them.
fn script(page: &str) -> Result<String> {
    let mut script = "set -euo pipefail\n\
        trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n\
        opens() { for _ in $(seq 600); do (exec 3<>/dev/tcp/127.0.0.1/$1) 2>/dev/null && return; sleep 0.1; done; \
        echo \"nothing opens port $1\"; exit 1; }\n\
        answers() { tee /dev/stderr | grep -q \"^HTTP/1.1 $1 \"; }\n"
        .to_owned();
    for Block { runs, commands } in blocks(page)? {
        match runs.split_once(' ') {
            // Not through the shell: its child has to hear of the end.
            Some(("port", port)) => write!(
                script,
                "exec_{port}() {{ exec {} }}\nexec_{port} &\nopens {port}\n",
                commands.trim_end().to_owned() + ";"
            )?,
            None if runs.is_empty() => script.push_str(commands),
            None => {
                let status: u16 = runs.parse().with_context(|| runs.to_owned())?;
                let (before, last) = commands
                    .trim_end()
                    .rsplit_once('\n')
                    .unwrap_or(("", commands.trim_end()));
                write!(script, "{before}\n{last} | answers {status}\n")?;
            }
            Some(_) => bail!("not understood: {runs}"),
        }
    }
    Ok(script)
}

#[test]
fn the_ten_minutes_with_envoy_end_with_a_guarded_request() -> Result<()> {
    let page = fs::read_to_string(repository().join("docs/ten-minutes-envoy.md"))?;
    // The ports that the page names.
    for port in [3402, 8000, 9901] {
        if let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
            let why = format!("port {port} of docs/ten-minutes-envoy.md is taken: {error}");
            if env::var_os("CI").is_some() {
                bail!(why);
            }
            writeln!(std::io::stderr(), "the page's commands were not run: {why}")?;
            return Ok(());
        }
    }
    let script = script(&page)?;
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(repository())
        .stdin(Stdio::null())
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{script}\n{}",
        String::from_utf8_lossy(&said)
    );
    Ok(())
}

#[test]
fn a_page_is_one_script() {
    let page = "a\n<!-- run -->\n```sh\nx=1\n```\n<!-- run: port 7 -->\n```sh\nserve $x\n```\nb\n\
                <!-- run: 401 -->\n```sh\ny=2\ncurl $y\n```\n";
    let script = script(page).unwrap();
    for line in [
        "x=1\n",
        "exec_7() { exec serve $x; }\nexec_7 &\nopens 7\n",
        "y=2\ncurl $y | answers 401\n",
    ] {
        assert!(script.contains(line), "{script}");
    }
    assert!(blocks("<!-- run -->\nno block\n").is_err());
}
