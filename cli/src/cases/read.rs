//! Reads files of cases.

use portcullis_policy::Span;

use super::fields::{At, Fields, Wrong, scalar};
use super::{Case, Cases, Expected, Step, Token};
use crate::document::{self, Content, Node, Place};
use crate::filter::{FILTERS, Filter, Host};
use crate::moment;
use crate::requests::{Asked, line};
use crate::token::mint;
use crate::trial::{Fails, Upstream};

/// When cases begin, where their file does not say.
const AT: &str = "2026-01-01T00:00:00Z";

/// Reads a file of cases.
///
/// # Errors
/// All that is wrong with it.
pub fn read(text: &str) -> Result<Cases, Vec<Wrong>> {
    let documents = document::read(text).map_err(|error| {
        vec![Wrong {
            place: error.place,
            message: error.reason,
        }]
    })?;
    let [document] = &documents[..] else {
        return Err(vec![Wrong {
            place: Place::default(),
            message: "expected one document".to_owned(),
        }]);
    };
    let mut wrong = Vec::new();
    let cases = cases(document, &mut wrong);
    match cases {
        Some(cases) if wrong.is_empty() => Ok(cases),
        _ => Err(wrong),
    }
}

fn cases(document: &Node, wrong: &mut Vec<Wrong>) -> Option<Cases> {
    let mut fields = Fields::of(document, wrong);
    let needed = fields.needed("configuration");
    let configuration = needed.and_then(|node| {
        Some(At {
            place: node.place(),
            value: node.text()?.to_owned(),
        })
    });
    let filter = fields.parsed("filter", |name| {
        let names = FILTERS.map(|filter| filter.name).join(", ");
        Filter::named(name).ok_or_else(|| format!("{name:?} is no filter; expected one of {names}"))
    });
    let host = fields.parsed("host", |name| {
        let names = "envoy, envoy-alone, native, kong";
        let host = <Host as clap::ValueEnum>::from_str(name, false);
        host.map_err(|_| format!("{name:?} is no host; expected one of {names}"))
    });
    let chain = fields.parsed("chain", str::parse::<usize>);
    let at = fields.parsed("at", moment::parse);
    let variables = fields.texts("variables").into_iter();
    let variables: Vec<_> = variables
        .map(
            |At {
                 value: (name, text),
                 ..
             }| (name, text.unwrap_or_default()),
        )
        .collect();
    let keys = fields.texts("keys").into_iter();
    let keys: Vec<_> = keys
        .map(
            |At {
                 place,
                 value: (url, file),
             }| At {
                place,
                value: (url, file.unwrap_or_default()),
            },
        )
        .collect();
    let mut tokens: Vec<Token> = Vec::new();
    for field in fields.get("tokens").map_or(&[][..], Node::fields) {
        tokens.push(token(
            &field.name,
            field.place,
            &field.value,
            fields.wrong(),
        ));
    }
    let listed = fields.needed("cases").map_or(&[][..], Node::items);
    let mut all = Vec::new();
    for node in listed {
        all.extend(case(node, &tokens, fields.wrong()));
    }
    fields.finish();
    Some(Cases {
        configuration: configuration?,
        filter: filter.map(|filter| {
            let host = host.map(|host| host.value);
            (filter.value, host.unwrap_or_default())
        }),
        chain: chain.map(|chain| chain.value),
        variables,
        keys,
        at: at.map(|at| at.value).or_else(|| moment::parse(AT).ok())?,
        tokens,
        cases: all,
    })
}

fn token(name: &str, place: Place, node: &Node, wrong: &mut Vec<Wrong>) -> Token {
    let mut fields = Fields::of(node, wrong);
    let provider = fields.text("provider").map(|provider| provider.value);
    let ttl = fields.parsed("ttl", moment::parse_span);
    let kid = fields.text("kid").map(|kid| kid.value);
    let key = fields.text("key").map(|key| key.value);
    let claims = fields.get("claims").map_or(&[][..], Node::fields).iter();
    let claims = claims.map(|claim| (mint::path(&claim.name), claim.value.to_json()));
    let claims = claims.collect();
    fields.finish();
    Token {
        name: name.to_owned(),
        place,
        provider,
        claims,
        ttl: ttl.map(|ttl| ttl.value),
        kid,
        key,
    }
}

fn case(node: &Node, tokens: &[Token], wrong: &mut Vec<Wrong>) -> Option<Case> {
    let mut fields = Fields::of(node, wrong);
    let place = fields.place();
    fields.needed("name");
    let name = fields.text("name");
    let steps = match fields.get("steps") {
        Some(listed) => {
            let mut steps = Vec::new();
            for node in listed.items() {
                let mut fields = Fields::of(node, fields.wrong());
                steps.extend(step(&mut fields, tokens));
                fields.finish();
            }
            if steps.is_empty() {
                fields.refuse(
                    listed.place(),
                    "steps: expected a list of requests".to_owned(),
                );
            }
            steps
        }
        None => step(&mut fields, tokens).into_iter().collect(),
    };
    fields.finish();
    Some(Case {
        name: name?.value,
        place,
        steps,
    })
}

/// A step, which may be all that a case has.
fn step(fields: &mut Fields<'_, '_>, tokens: &[Token]) -> Option<Step> {
    let place = fields.place();
    fields.needed("request");
    let request = fields.parsed("request", line::parse);
    let mut asked = request.map_or_else(Asked::default, |request| request.value);
    for At {
        value: (name, text),
        ..
    } in fields.texts("headers")
    {
        asked.add(&name, &text.unwrap_or_default());
    }
    let body = fields.text("body");
    let json = fields.get("json");
    if let (Some(body), Some(_)) = (&body, json) {
        fields.refuse(
            body.place,
            "both `body` and `json`; expected one of them".to_owned(),
        );
    }
    if let Some(json) = json {
        asked.add_default("content-type", "application/json");
        asked.body = json.to_json().to_string().into_bytes();
    }
    if let Some(body) = body {
        asked.body = body.value.into_bytes();
    }
    let token = fields.text("token");
    if let Some(At { place, value }) = &token
        && !tokens.iter().any(|known| known.name == *value)
    {
        fields.refuse(*place, format!("token: {value:?} is none of `tokens`"));
    }
    let client = fields.parsed("client", str::parse);
    let route = fields.text("route").map(|route| route.value);
    let wait = fields.parsed("wait", moment::parse_span);
    let repeat = fields.parsed("repeat", |text| match text.parse() {
        Ok(repeat @ 1..=100_000_u32) => Ok(repeat),
        _ => Err(format!("{text} is out of range; expected 1 to 100000")),
    });
    let over = fields.parsed("over", moment::parse_span);
    let upstream = upstream(fields);
    let expected = expected(fields);
    Some(Step {
        place,
        asked,
        token,
        client: client.map(|client| client.value),
        route,
        wait: wait.map_or(Span::ZERO, |wait| wait.value),
        repeat: repeat.map_or(1, |repeat| repeat.value),
        over: over.map(|over| over.value),
        upstream,
        expected,
    })
}

fn upstream(fields: &mut Fields<'_, '_>) -> Upstream {
    let mut upstream = Upstream::default();
    let Some(node) = fields.get("backend") else {
        return upstream;
    };
    let mut fields = Fields::of(node, fields.wrong());
    if let Some(status) = fields.parsed("status", status) {
        upstream.status = status.value;
    }
    let headers = fields.texts("headers").into_iter();
    upstream.headers = headers
        .map(
            |At {
                 value: (name, text),
                 ..
             }| { (name.to_ascii_lowercase(), text.unwrap_or_default()) },
        )
        .collect();
    if let Some(body) = fields.get("body") {
        upstream.body = match (&body.content, scalar(body)) {
            (_, Some(text)) => text.into_bytes(),
            (Content::Null, None) => Vec::new(),
            (_, None) => body.to_json().to_string().into_bytes(),
        };
    }
    if let Some(delay) = fields.parsed("delay", moment::parse_span) {
        upstream.delay = delay.value;
    }
    let fails = fields.parsed("fails", |word| {
        let fails = <Fails as clap::ValueEnum>::from_str(word, false);
        fails.map_err(|_| format!("{word:?}: expected connection or timeout"))
    });
    upstream.fails = fails.map(|fails| fails.value);
    fields.finish();
    upstream
}

fn expected(fields: &mut Fields<'_, '_>) -> Expected {
    let place = fields.place();
    let Some(node) = fields.get("expect") else {
        // A step that leads up to another one.
        return Expected::default();
    };
    let mut fields = Fields::of(node, fields.wrong());
    let mut statuses = Vec::new();
    for At {
        place,
        value: (name, count),
    } in fields.texts("statuses")
    {
        let count = count.as_deref().unwrap_or_default();
        match (status(&name), count.parse()) {
            (Ok(status), Ok(count)) => statuses.push(At {
                place,
                value: (status, count),
            }),
            _ => fields.refuse(
                place,
                format!(
                    "statuses.{name}: {count:?} is no count of a status; expected such as 429: 50"
                ),
            ),
        }
    }
    let expected = Expected {
        status: fields.parsed("status", status),
        statuses,
        from: fields.text("from"),
        headers: fields.texts("headers"),
        body: fields.text("body"),
        backend: fields.texts("backend"),
        target: fields.text("target"),
    };
    if expected.is_nothing() {
        fields.refuse(place, "expect: nothing is expected".to_owned());
    }
    fields.finish();
    expected
}

fn status(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(status @ 100..=599) => Ok(status),
        _ => Err(format!("{text} is no status; expected 100 to 599")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    /// `line: message` of all that is wrong.
    fn wrong(text: &str) -> Vec<String> {
        let source = Source {
            name: "f".into(),
            text: text.to_owned(),
        };
        let wrong = read(text).err().expect("something is wrong").into_iter();
        let lines =
            wrong.map(|wrong| format!("{}: {}", source.line_of(wrong.place), wrong.message));
        lines.collect()
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_line() {
        let told = wrong(
            "configuration: a.yaml\nat: now\ncases:\n- name: a\n  request: GET\n  repeat: 0\n  tokn: x\n  expect: { stats: 200 }\n- request: /\n  token: nobody\n  expect: { statuses: { 429: many } }\n",
        );
        for (said, at) in [
            ("at: \"now\" is no point in time", 2),
            ("request: \"GET\" is no path", 5),
            ("repeat: 0 is out of range", 6),
            ("unknown field `tokn`", 7),
            ("unknown field `stats`", 8),
            ("missing field `name`", 9),
            ("token: \"nobody\" is none of `tokens`", 10),
            ("statuses.429: \"many\" is no count", 11),
        ] {
            let is_it = |line: &&String| line.contains(said);
            let line = told.iter().find(is_it);
            let line = line.unwrap_or_else(|| panic!("{said}: {told:#?}"));
            assert!(line.starts_with(&format!("{at}: ")), "{line}");
        }
        assert!(wrong("cases: []\n")[0].contains("missing field `configuration`"));
        assert!(wrong("a: [\n")[0].starts_with("2: ") || wrong("a: [\n")[0].starts_with("1: "));
    }

    #[test]
    fn a_case_is_one_request_or_several() {
        let cases = read(
            "configuration: a\ncases:\n- { name: a, request: /, expect: { status: 200 } }\n- name: b\n  steps:\n  - { request: POST /a, json: { x: 1 } }\n  - { request: /b, wait: 1m, repeat: 3, expect: { from: backend } }\n",
        );
        let Ok(Cases { cases, .. }) = cases else {
            panic!("it is right");
        };
        assert_eq!(
            cases
                .iter()
                .map(|case| case.steps.len())
                .collect::<Vec<_>>(),
            [1, 2]
        );
        let [first, second] = &cases[1].steps[..] else {
            panic!("two steps");
        };
        assert_eq!(first.asked.body, b"{\"x\":1}");
        assert_eq!((second.wait, second.repeat), (Span::from_secs(60), 3));
    }
}
