use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// What is told of a document, in chunks of these lengths.
fn read_in(paths: &Paths, text: &[u8], cuts: &[usize]) -> Result<Vec<String>, Broken> {
    let mut scanner = Scanner::default();
    let mut told = Vec::new();
    let mut tell = |Place { path, .. }: Place, found: Found<'_>| {
        let found = match found {
            Found::Text(start, length) => {
                format!("{:?} of {length}", String::from_utf8_lossy(start))
            }
            found => format!("{found:?}"),
        };
        told.push(format!("{path} {found}"));
    };
    let mut rest = text;
    for cut in cuts {
        let (chunk, behind) = rest.split_at((*cut).min(rest.len()));
        scanner.feed(paths, chunk, &mut tell)?;
        rest = behind;
    }
    scanner.feed(paths, rest, &mut tell)?;
    scanner.end(paths, &mut tell)?;
    assert!(scanner.is_at_begin());
    Ok(told)
}

fn read(paths: &[&str], text: &str) -> Result<Vec<String>, Broken> {
    let paths = Paths::new(paths.iter().copied()).unwrap();
    let whole = read_in(&paths, text.as_bytes(), &[]);
    for cut in 0..text.len() {
        assert_eq!(
            read_in(&paths, text.as_bytes(), &[cut]),
            whole,
            "{text} at {cut}"
        );
    }
    let ones = vec![1; text.len()];
    assert_eq!(read_in(&paths, text.as_bytes(), &ones), whole, "{text}");
    whole
}

#[test]
fn values_are_found_where_they_stand_and_nowhere_else() {
    let paths = [
        "usage.total",
        "choices.*.delta.text",
        "choices",
        "model",
        "usage",
    ];
    let text = r#" {"total": 1, "model":"m\u00e4", "x": {"usage": {"total": 2}},
        "choices": [ {"delta": {"text": "ab"}}, {"delta": {"text": ""}, "text": "no"}, 7, [], {"delta": [{"text": "no"}]} ],
        "usage": {"total": -3.5e1 , "more": {"total": 9}} } "#;
    assert_eq!(
        read(&paths, text),
        Ok([
            r#"3 "mä" of 3"#,
            r#"1 "ab" of 2"#,
            r#"1 "" of 0"#,
            "2 List(5)",
            "0 Number(-35.0)",
            "4 Object(2)"
        ]
        .map(str::to_owned)
        .into())
    );
}

#[test]
fn every_kind_of_value_is_told() {
    for (value, told) in [
        ("true", "0 Truth(true)"),
        ("false", "0 Truth(false)"),
        ("null", "0 Null"),
        ("[]", "0 List(0)"),
        ("[[1,2],[3]]", "0 List(2)"),
        ("{}", "0 Object(0)"),
        ("0", "0 Number(0.0)"),
        ("1e999", "0 Number(inf)"),
    ] {
        let text = format!(r#"{{"a":{value}}}"#);
        assert_eq!(read(&["a"], &text), Ok(vec![told.to_owned()]), "{text}");
    }
}

#[test]
fn a_name_that_stands_twice_is_told_twice_and_one_in_another_spelling_is_the_same() {
    let text = r#"{"Max_Tokens":1,"max_\u0074okens":2,"max_to\u212aens":3,"max_tokens ":4}"#;
    let told = ["0 Number(1.0)", "0 Number(2.0)", "0 Number(3.0)"];
    assert_eq!(
        read(&["max_tokens"], text),
        Ok(told.map(str::to_owned).into())
    );
}

#[test]
fn a_list_of_lists_and_a_list_as_document_have_elements() {
    assert_eq!(
        read(&["*.*.a"], r#"[[{"a":1}],[{"a":2},{"a":3}],{"a":4}]"#),
        Ok(["0 Number(1.0)", "0 Number(2.0)", "0 Number(3.0)"]
            .map(str::to_owned)
            .into())
    );
}

#[test]
fn what_is_no_json_is_broken() {
    for text in [
        "",
        " ",
        "{",
        "{]",
        "[}",
        "[1,]",
        "[,1]",
        r#"{"a":1,}"#,
        r#"{a:1}"#,
        r#"{"a" 1}"#,
        r#"{"a":}"#,
        r#"{"a":1 "b":2}"#,
        "{'a':1}",
        "[1 2]",
        "nul",
        "nulll",
        "True",
        "NaN",
        "1 2",
        "{} {}",
        "// x\n{}",
        "\u{feff}{}",
        "\"a\nb\"",
        "\"\\x\"",
        "]",
        "01",
    ] {
        assert_eq!(read(&["a"], text), Err(Broken), "{text}");
    }
}

#[test]
fn as_deep_as_it_may_be_and_no_deeper() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    assert!(read(&["a"], &nested(Scanner::DEEPEST)).is_ok());
    assert!(read(&["a"], &nested(Scanner::DEEPEST + 1)).is_err());
    assert!(read(&["a"], &objects(Scanner::DEEPEST)).is_ok());
    assert!(read(&["a"], &objects(Scanner::DEEPEST + 1)).is_err());
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let name = prop::sample::select(vec!["a", "b", "usage", "c\u{e4}\"\n"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..5).prop_map(|pairs| {
                let pairs = pairs.into_iter();
                Value::Object(
                    pairs
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

/// The same by a tree.
fn at<'v>(value: &'v Value, path: &[&str], found: &mut Vec<&'v Value>) {
    let Some((step, rest)) = path.split_first() else {
        found.push(value);
        return;
    };
    match (value, *step) {
        (Value::Array(elements), "*") => {
            for element in elements {
                at(element, rest, found);
            }
        }
        (Value::Object(fields), name) if name != "*" => {
            if let Some(value) = fields.get(name) {
                at(value, rest, found);
            }
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn the_same_is_found_as_in_a_tree_however_it_is_cut(value in document(), cuts in prop::collection::vec(0..9_usize, 0..200)) {
        for path in ["a", "usage.a", "a.*.b", "*.a", "*.*"] {
            let paths = Paths::new([path]).unwrap();
            let text = serde_json::to_vec(&value).unwrap();
            let told = read_in(&paths, &text, &cuts).unwrap();
            let steps: Vec<_> = path.split('.').collect();
            let mut found = Vec::new();
            at(&value, &steps, &mut found);
            // Lists and objects are told at their ends: in another order, so that only how many there are is compared.
            prop_assert_eq!(told.len(), found.len());
            let numbers = told.iter().filter_map(|told| told.strip_prefix("0 Number(")?.strip_suffix(')')?.parse().ok());
            let numbers: Vec<f64> = numbers.collect();
            let expected: Vec<f64> = found.iter().filter_map(|value| value.as_f64()).collect();
            prop_assert_eq!(numbers, expected);
        }
    }

    #[test]
    fn whatever_comes_it_is_json_where_a_parser_says_so(bytes in "[\\[\\]{}:,\"0-9a-f.eEul\\\\ntrs -]{0,40}") {
        let paths = Paths::new(["a"]).unwrap();
        let ours = read_in(&paths, bytes.as_bytes(), &[]).is_ok();
        // A surrogate that stands alone is none to serde_json; numbers that are too large are none either.
        let theirs = serde_json::from_str::<Value>(&bytes);
        if let Err(error) = &theirs
            && (error.to_string().contains("surrogate") || error.to_string().contains("out of range") || error.to_string().contains("hex escape"))
        {
            return Ok(());
        }
        prop_assert_eq!(ours, theirs.is_ok(), "{}", bytes);
    }
}
