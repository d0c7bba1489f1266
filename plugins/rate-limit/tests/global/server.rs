//! Redis as far as the script needs it, in a process, with a clock that is moved by hand. It runs the script itself.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use mlua::{Function, Lua, MultiValue, Table, Value};

/// What a key holds.
#[derive(Clone, Debug)]
enum Kept {
    Text(String),
    Hash(BTreeMap<String, String>),
}

#[derive(Default)]
struct Data {
    keys: RefCell<BTreeMap<String, (Kept, u64)>>,
    /// In microseconds.
    now: Cell<u64>,
}

/// A server.
pub(crate) struct Server {
    lua: Lua,
    script: Function,
    data: Rc<Data>,
    /// Whether it knows the script by its hash.
    is_loaded: Cell<bool>,
}

impl Data {
    fn call(&self, lua: &Lua, words: &[String]) -> mlua::Result<Value> {
        let now = self.now.get();
        let mut keys = self.keys.borrow_mut();
        keys.retain(|_, (_, until)| *until > now);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = |text: &str| Ok(Value::String(lua.create_string(text)?));
        let until = |millis: &str| now + millis.parse::<u64>().unwrap() * 1_000;
        match words.as_slice() {
            ["TIME"] => {
                let time = [now / 1_000_000, now % 1_000_000].map(|part| part.to_string());
                Ok(Value::Table(lua.create_sequence_from(time)?))
            }
            ["GET", key] => match keys.get(*key) {
                Some((Kept::Text(kept), _)) => text(kept),
                Some((Kept::Hash(_), _)) => panic!("WRONGTYPE {key}"),
                None => Ok(Value::Boolean(false)),
            },
            ["SET", key, value, "PX", millis] => {
                let kept = Kept::Text((*value).to_owned());
                keys.insert((*key).to_owned(), (kept, until(millis)));
                text("OK")
            }
            ["SET", key, value, "NX", "PX", millis] => {
                if keys.contains_key(*key) {
                    return Ok(Value::Boolean(false));
                }
                let kept = Kept::Text((*value).to_owned());
                keys.insert((*key).to_owned(), (kept, until(millis)));
                text("OK")
            }
            ["DEL", key] => {
                keys.remove(*key);
                Ok(Value::Integer(1))
            }
            ["HMGET", key, fields @ ..] => {
                let found = fields.iter().map(|field| match keys.get(*key) {
                    Some((Kept::Hash(hash), _)) => match hash.get(*field) {
                        Some(value) => text(value),
                        None => Ok(Value::Boolean(false)),
                    },
                    Some((Kept::Text(_), _)) => panic!("WRONGTYPE {key}"),
                    None => Ok(Value::Boolean(false)),
                });
                let found: Vec<Value> = found.collect::<mlua::Result<_>>()?;
                Ok(Value::Table(lua.create_sequence_from(found)?))
            }
            ["HSET", key, fields @ ..] => {
                let entry = keys.entry((*key).to_owned());
                let (kept, _) = entry.or_insert((Kept::Hash(BTreeMap::new()), u64::MAX));
                let Kept::Hash(hash) = kept else {
                    panic!("WRONGTYPE {key}");
                };
                for pair in fields.chunks(2) {
                    hash.insert(pair[0].to_owned(), pair[1].to_owned());
                }
                Ok(Value::Integer(1))
            }
            ["PEXPIRE", key, millis] => {
                if let Some((_, kept_until)) = keys.get_mut(*key) {
                    *kept_until = until(millis);
                }
                Ok(Value::Integer(1))
            }
            other => panic!("no such command: {other:?}"),
        }
    }
}

/// A number or a text, as Redis takes it.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_str().unwrap().to_owned(),
        Value::Integer(number) => number.to_string(),
        // As Lua writes it in Redis.
        Value::Number(number) => format!("{number:.0}"),
        other => panic!("{other:?}"),
    }
}

impl Server {
    /// One that knows nothing, at that time.
    pub(crate) fn new(now_micros: u64) -> Self {
        let lua = Lua::new();
        let data = Rc::new(Data::default());
        data.now.set(now_micros);
        let redis = lua.create_table().unwrap();
        let shared = Rc::clone(&data);
        let call = lua.create_function(move |lua, words: MultiValue| {
            let words: Vec<String> = words.iter().map(word).collect();
            shared.call(lua, &words)
        });
        redis.set("call", call.unwrap()).unwrap();
        lua.globals().set("redis", redis).unwrap();
        let script = include_str!("../../src/global/engine/script.lua");
        let script = lua.load(script).into_function().unwrap();
        Self {
            lua,
            script,
            data,
            is_loaded: Cell::new(false),
        }
    }

    /// Moves its clock, in microseconds.
    pub(crate) fn set_clock(&self, now_micros: u64) {
        self.data.now.set(now_micros);
    }

    /// A start without what it knew.
    pub(crate) fn flush(&self) {
        self.data.keys.borrow_mut().clear();
    }

    /// A start: scripts are not kept.
    pub(crate) fn restart(&self) {
        self.is_loaded.set(false);
    }

    /// What Webdis answers to this body of a POST.
    pub(crate) fn answer(&self, body: &[u8]) -> Vec<u8> {
        let body = std::str::from_utf8(body).unwrap();
        let words: Vec<String> = body.split('/').map(unescaped).collect();
        let command = words[0].as_str();
        match command {
            "EVALSHA" if !self.is_loaded.get() => {
                let error = "NOSCRIPT No matching script. Please use EVAL.";
                return format!(r#"{{"EVALSHA":[false,"{error}"]}}"#).into_bytes();
            }
            "EVALSHA" => {}
            "EVAL" => {
                let script = include_str!("../../src/global/engine/script.lua");
                assert!(words[1] == script || words[1] == "x", "as it was sent");
                self.is_loaded.set(true);
                if words[1] == "x" {
                    return Vec::new();
                }
            }
            other => panic!("{other}"),
        }
        let keys: usize = words[2].parse().unwrap();
        let told = self.run(&words[3..3 + keys], &words[3 + keys..]);
        let told: Vec<String> = told.iter().map(u64::to_string).collect();
        format!(r#"{{"{command}":[{}]}}"#, told.join(",")).into_bytes()
    }

    fn run(&self, keys: &[String], arguments: &[String]) -> Vec<u64> {
        let list = |words: &[String]| {
            self.lua
                .create_sequence_from(words.iter().cloned())
                .unwrap()
        };
        let globals = self.lua.globals();
        globals.set("KEYS", list(keys)).unwrap();
        globals.set("ARGV", list(arguments)).unwrap();
        let told: Table = self.script.call(()).unwrap();
        let told = told.sequence_values::<f64>().map(|number| {
            let number = number.unwrap();
            assert!(
                number >= 0.0 && number.fract() == 0.0,
                "{number} is no whole number"
            );
            number as u64
        });
        told.collect()
    }
}

fn unescaped(word: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
