//! How many users there are when, and what is too slow for them.

use anyhow::Result;
use serde::Deserialize;

/// How much shorter a short run is.
const SHORTER: u64 = 10;

/// What `tests/load/profile.json` says of users and thresholds; what they do is for the users to read.
#[derive(Clone, Debug, Deserialize)]
pub struct Profile {
    stages: Vec<Stage>,
    p95_milliseconds: u64,
    failed_percent: u64,
}

/// So many users at its end, and how long it takes to become so many.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Stage {
    users: u64,
    seconds: u64,
}

impl Profile {
    /// The one that the script for k6 reads, too.
    ///
    /// # Errors
    /// It is not one.
    pub fn shipped() -> Result<Self> {
        let text = include_str!("../../../tests/load/profile.json");
        Ok(serde_json::from_str(text)?)
    }

    /// As options of goose.
    #[must_use]
    pub fn options(&self, short: bool) -> Vec<String> {
        let seconds = |stage: &Stage| match short {
            true => stage.seconds / SHORTER,
            false => stage.seconds,
        };
        let stages = self.stages.iter();
        let stages: Vec<String> = stages
            .map(|stage| format!("{},{}s", stage.users, seconds(stage)))
            .collect();
        let options = [
            ("--test-plan", stages.join(";")),
            ("--threshold", format!("p95<{}ms", self.p95_milliseconds)),
            (
                "--threshold",
                format!("error-rate<{}%", self.failed_percent),
            ),
        ];
        let mut words: Vec<String> = options
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect();
        // So that the figures are of the whole run.
        words.push("--no-threshold-abort".to_owned());
        words
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::{Value, json};

    use super::*;
    use crate::command::capture;
    use crate::load::DIR;
    use crate::tools;
    use crate::workspace::Workspace;

    #[test]
    fn it_takes_five_minutes_or_half_of_one() {
        let profile = Profile::shipped().unwrap();
        let plan = |short| profile.options(short)[1].clone();
        assert_eq!(plan(false), "10,60s;50,0s;50,180s;0,60s");
        assert_eq!(plan(true), "10,6s;50,0s;50,18s;0,6s");
        let options = profile.options(true);
        assert!(options.contains(&"p95<500ms".to_owned()), "{options:?}");
        assert!(
            options.contains(&"error-rate<10%".to_owned()),
            "{options:?}"
        );
    }

    #[test]
    fn the_script_for_k6_does_the_same() {
        let workspace = Workspace::here();
        let folder = workspace.root().join(DIR);
        let mut node = Command::new(tools::node(&workspace).unwrap());
        node.args(["--experimental-vm-modules", "--no-warnings"]);
        let said = capture(node.arg(folder.join("k6/check.mjs"))).unwrap();
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            said["options"],
            json!({
                "stages": [
                    { "target": 10, "duration": "60s" },
                    { "target": 50, "duration": "0s" },
                    { "target": 50, "duration": "180s" },
                    { "target": 0, "duration": "60s" },
                ],
                "thresholds": {
                    "http_req_waiting": ["p(95)<500"],
                    "http_req_failed": ["rate<0.10"],
                },
            })
        );
        let profile: Value =
            serde_json::from_str(include_str!("../../../tests/load/profile.json")).unwrap();
        let requests = profile["requests"].as_array().unwrap();
        let asked = said["asked"].as_array().unwrap();
        assert_eq!(asked.len(), requests.len());
        for (asked, request) in asked.iter().zip(requests) {
            let path = request["path"].as_str().unwrap();
            assert_eq!(asked["url"], format!("http://gateway{path}"));
            assert_eq!(asked["method"], request["method"]);
            assert_eq!(asked["body"], request["body"]);
            assert_eq!(asked["headers"]["authorization"], "Bearer token");
            assert_eq!(asked["headers"]["x-forwarded-for"], "198.18.1.2");
        }
    }
}
