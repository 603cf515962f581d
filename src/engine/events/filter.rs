//! Which events are wanted.

use super::Event;

/// The names that a filter may have.
pub const NAMES: [&str; 8] = [
    "type",
    "event",
    "container",
    "image",
    "network",
    "volume",
    "label",
    "scope",
];

/// Of several values of one name any must fit, and all names must; but of labels all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    wanted: [Vec<String>; NAMES.len()],
}

impl Filter {
    /// Wants this, too; false where a filter of this name does not exist.
    pub fn want(&mut self, name: &str, value: &str) -> bool {
        let Some(at) = NAMES.iter().position(|known| *known == name) else {
            return false;
        };
        self.wanted[at].push(value.to_owned());
        true
    }

    /// Whether the event is wanted.
    pub fn takes(&self, event: &Event) -> bool {
        NAMES.iter().zip(&self.wanted).all(|(name, values)| {
            let mut fits = values.iter().map(|value| fits(name, value, event));
            match *name {
                "label" => fits.all(|fits| fits),
                _ => values.is_empty() || fits.any(|fits| fits),
            }
        })
    }
}

fn fits(name: &str, value: &str, event: &Event) -> bool {
    match name {
        "type" => event.kind() == value,
        "event" => event.action() == value || event.verb() == value,
        "scope" => event.scope() == value,
        "label" => match value.split_once('=') {
            Some((key, value)) => event.attribute(key) == Some(value),
            None => event.attribute(value).is_some(),
        },
        "image" => {
            let attribute = if event.kind() == "image" {
                "name"
            } else {
                "image"
            };
            let is = |image: &str| image == value || familiar_name(image) == value;
            let of_image = event.kind() == "image" && is(event.actor());
            of_image || event.attribute(attribute).is_some_and(is)
        }
        // Of a container, a network or a volume.
        kind => {
            let is_named = event.attribute("name") == Some(value);
            event.kind() == kind && (is_named || event.actor().starts_with(value))
        }
    }
}

/// An image's name without digest and tag, and without what Docker's own registry is called.
fn familiar_name(image: &str) -> &str {
    let (name, _digest) = image.split_once('@').unwrap_or((image, ""));
    let name = match name.rsplit_once(':') {
        // A colon before a slash belongs to a port.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    let ours = ["docker.io/", "index.docker.io/"].into_iter();
    let mut short = ours.filter_map(|registry| name.strip_prefix(registry));
    let name = short.next().unwrap_or(name);
    match name.strip_prefix("library/") {
        Some(official) if !official.contains('/') => official,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{super::event::Said, *};

    fn event(json: &str) -> Event {
        Event::new(Said::read(Bytes::from(json.to_owned())).unwrap(), 0)
    }

    fn takes(filters: &[(&str, &str)], event: &Event) -> bool {
        let mut filter = Filter::default();
        for (name, value) in filters {
            assert!(filter.want(name, value));
        }
        filter.takes(event)
    }

    #[test]
    fn knows_images_by_their_familiar_names() {
        for (image, name) in [
            ("nginx", "nginx"),
            ("nginx:1.27", "nginx"),
            ("nginx@sha256:0a", "nginx"),
            ("nginx:1.27@sha256:0a", "nginx"),
            ("docker.io/library/nginx:1.27", "nginx"),
            ("library/nginx", "nginx"),
            ("docker.io/shop/web", "shop/web"),
            ("host:5000/shop", "host:5000/shop"),
            ("host:5000/library/shop:v1", "host:5000/library/shop"),
        ] {
            assert_eq!(familiar_name(image), name, "{image}");
        }
    }

    #[test]
    fn takes_what_is_wanted() {
        let web = event(
            r#"{"Type":"container","Action":"exec_create: sh","Actor":{"ID":"4fa6e0","Attributes":{"name":"web","image":"host:5000/shop:v1","a":"b"}},"scope":"local"}"#,
        );
        let image = event(
            r#"{"Type":"image","Action":"tag","Actor":{"ID":"sha256:1","Attributes":{"name":"shop:v1"}}}"#,
        );
        let net = event(
            r#"{"Type":"network","Action":"connect","Actor":{"ID":"4fa6n","Attributes":{"name":"web","container":"4fa6e0"}}}"#,
        );
        for (filters, of_web, of_image, of_net) in [
            (&[][..], true, true, true),
            (&[("type", "container")], true, false, false),
            (
                &[("type", "container"), ("type", "image")],
                true,
                true,
                false,
            ),
            (
                &[("type", "image"), ("event", "start")],
                false,
                false,
                false,
            ),
            (&[("event", "exec_create")], true, false, false),
            (&[("event", "exec_create: sh")], true, false, false),
            (&[("event", "exec")], false, false, false),
            (&[("container", "4fa6")], true, false, false),
            (&[("container", "web")], true, false, false),
            (&[("container", "we")], false, false, false),
            (&[("network", "web")], false, false, true),
            (&[("volume", "web")], false, false, false),
            (&[("image", "host:5000/shop")], true, false, false),
            (&[("image", "host:5000/shop:v1")], true, false, false),
            (&[("image", "shop")], false, true, false),
            (&[("image", "sha256:1")], false, true, false),
            (&[("label", "a")], true, false, false),
            (&[("label", "a=b")], true, false, false),
            (&[("label", "a=c")], false, false, false),
            (&[("label", "a"), ("label", "x")], false, false, false),
            (&[("scope", "local")], true, true, true),
            (&[("scope", "swarm")], false, false, false),
        ] {
            let taken = [&web, &image, &net].map(|event| takes(filters, event));
            assert_eq!(taken, [of_web, of_image, of_net], "{filters:?}");
        }
        assert!(!Filter::default().want("until", "1"));
    }
}
