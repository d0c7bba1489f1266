//! What Kong is started with: `kong.conf`, what nginx includes, variables of a container, and which Kong it is.

use crate::document::{Content, Node, Place};
use crate::source::Source;

/// A setting of Kong's, or a directive of nginx's.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Its name as in `kong.conf`; of a directive, the word that it begins with.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: String,
    /// Where that stands.
    pub(crate) place: Place,
}

/// A container with an image of Kong's own.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Where the version stands.
    pub(crate) place: Place,
    /// The version.
    pub(crate) version: (u32, u32),
    /// Whether Wasm is switched on there.
    pub(crate) has_wasm: bool,
}

/// What a file says of how Kong is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Whether the file is `kong.conf`, or part of nginx's configuration.
    pub(crate) is_conf: bool,
    /// All settings.
    pub(crate) all: Vec<Setting>,
    /// All containers.
    pub(crate) images: Vec<Image>,
}

/// The oldest version that the filters are for, and the first without Wasm.
pub(crate) const OLDEST: (u32, u32) = (3, 9);
pub(crate) const WITHOUT_WASM: (u32, u32) = (3, 11);

/// Whether a file holds settings, line by line, and no YAML.
#[must_use]
pub(crate) fn is_conf(source: &Source) -> bool {
    let name = std::path::Path::new(&source.name);
    name.extension().is_some_and(|end| end == "conf")
}

/// The lines of a file of settings.
pub(crate) fn of_conf(source: &Source) -> Settings {
    let mut all = Vec::new();
    let mut start = 0_usize;
    for line in source.text.split_inclusive('\n') {
        all.extend(setting(line, start));
        start = start.saturating_add(line.len());
    }
    Settings {
        is_conf: true,
        all,
        images: Vec::new(),
    }
}

fn setting(line: &str, start: usize) -> Option<Setting> {
    let text = line.trim();
    let first = text.chars().next()?;
    (first.is_ascii_alphabetic()).then_some(())?;
    let of_kong = text.split_once('=').filter(|(name, _)| {
        let name = name.trim();
        !name.contains(char::is_whitespace)
    });
    let (name, value) = of_kong.or_else(|| text.split_once(char::is_whitespace))?;
    let value = value.split(" #").next().unwrap_or_default();
    let value = value.trim().trim_end_matches(';').trim_end();
    let at = start.saturating_add(line.find(value)?);
    Some(Setting {
        name: name.trim().to_ascii_lowercase(),
        value: value.to_owned(),
        place: Place {
            start: at,
            end: at.saturating_add(value.len()),
        },
    })
}

impl Settings {
    /// What containers of a document are started with.
    pub(crate) fn look_at(&mut self, node: &Node) {
        if let Some(image) = node.get("image") {
            self.container(node, image);
        }
        for field in node.fields() {
            self.look_at(&field.value);
        }
        for item in node.items() {
            self.look_at(item);
        }
    }

    fn container(&mut self, node: &Node, image: &Node) {
        let is_chart = image.get("repository").is_some();
        let mut own = Vec::new();
        for name in ["environment", "env"] {
            own.extend(
                node.get(name)
                    .into_iter()
                    .flat_map(|env| of_environment(env, is_chart)),
            );
        }
        let wasm = own.iter().find(|setting| setting.name == "wasm");
        let has_wasm = wasm.is_some_and(|setting| setting.value == "on");
        self.images
            .extend(version(image).map(|(version, place)| Image {
                place,
                version,
                has_wasm,
            }));
        self.all.extend(own);
    }

    /// A setting's value.
    pub(crate) fn get(&self, name: &str) -> Option<&Setting> {
        self.all.iter().find(|setting| setting.name == name)
    }
}

/// `KONG_…` of a container; of a chart's values what becomes that.
fn of_environment(env: &Node, is_chart: bool) -> Vec<Setting> {
    let setting = |name: &str, value: &Node| {
        let name = name.to_ascii_lowercase();
        let own = match name.strip_prefix("kong_") {
            Some(own) => own.to_owned(),
            None if is_chart => name,
            None => return None,
        };
        let text = match &value.content {
            Content::Text(text) => text.clone(),
            Content::Bool(true) => "on".to_owned(),
            Content::Number(number) => number.to_string(),
            _ => return None,
        };
        Some(Setting {
            name: own,
            value: text,
            place: value.place(),
        })
    };
    let fields = env.fields().iter();
    let fields = fields.filter_map(|field| setting(&field.name, &field.value));
    // `- KONG_WASM=on`, `- { name: KONG_WASM, value: "on" }`
    let items = env.items().iter().filter_map(|item| match item.text() {
        Some(text) => {
            let (name, value) = text.split_once('=')?;
            let value = Node {
                content: Content::Text(value.to_owned()),
                ..item.clone()
            };
            setting(name, &value)
        }
        None => setting(item.get("name")?.text()?, item.get("value")?),
    });
    fields.chain(items).collect()
}

/// The version of an image of Kong's own: `kong:3.9`, `kong/kong-gateway:3.10.0.1-ubuntu`, `{ repository: kong, tag: "3.9" }`.
fn version(image: &Node) -> Option<((u32, u32), Place)> {
    let (name, tag, place) = match image.get("repository").and_then(Node::text) {
        Some(name) => {
            let tag = image.get("tag")?;
            (name, tag.text()?, tag.place())
        }
        None => {
            let (name, tag) = image.text()?.rsplit_once(':')?;
            (name, tag, image.place())
        }
    };
    let mut parts = name.rsplit('/');
    let own = match (parts.next()?, parts.next()) {
        ("kong", None | Some("library" | "kong")) | ("kong-gateway", Some("kong")) => tag,
        _ => return None,
    };
    let mut numbers = own.split(['.', '-']);
    let version = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    Some((version, place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::read;

    #[test]
    fn settings_are_read_in_both_forms() {
        let source = Source {
            name: "kong.conf".into(),
            text: "# wasm = off\nwasm = on # why\nnginx_main_env=A; env B\nenv JWT_KEY;\n env X=y;\n\n".into(),
        };
        let settings = of_conf(&source);
        let read: Vec<_> = settings
            .all
            .iter()
            .map(|setting| (&*setting.name, &*setting.value))
            .collect();
        assert_eq!(
            read,
            [
                ("wasm", "on"),
                ("nginx_main_env", "A; env B"),
                ("env", "JWT_KEY"),
                ("env", "X=y")
            ]
        );
        let place = settings.all[1].place;
        assert_eq!(&source.text[place.start..place.end], "A; env B");
    }

    #[test]
    fn the_version_is_that_of_an_image_of_kongs_own() {
        for (image, expected) in [
            ("kong:3.9", Some((3, 9))),
            ("docker.io/library/kong:3.11.2", Some((3, 11))),
            ("kong/kong-gateway:3.10.0.1-ubuntu", Some((3, 10))),
            ("{ repository: kong, tag: '3.4-alpine' }", Some((3, 4))),
            ("kong:latest", None),
            ("kong", None),
            ("kong/kubernetes-ingress-controller:3.5", None),
            ("registry.example/portcullis/kong:0.1.0", None),
        ] {
            let image = read(image).unwrap().remove(0);
            assert_eq!(
                version(&image).map(|(version, _)| version),
                expected,
                "{image:?}"
            );
        }
    }

    #[test]
    fn a_containers_variables_are_settings() {
        for text in [
            "{ image: 'kong:3.9', environment: { KONG_WASM: 'on', OTHER: x } }",
            "{ image: 'kong:3.9', environment: ['KONG_WASM=on', 'OTHER=x'] }",
            "{ image: 'kong:3.9', env: [{ name: KONG_WASM, value: 'on' }, { name: A, valueFrom: {} }] }",
            "{ image: { repository: kong, tag: '3.9' }, env: { wasm: 'on' } }",
        ] {
            let mut settings = Settings::default();
            settings.look_at(&read(text).unwrap().remove(0));
            assert_eq!(settings.all.len(), 1, "{text}");
            assert!(settings.images[0].has_wasm, "{text}");
        }
    }
}
