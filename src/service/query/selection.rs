//! Which containers a query wants the logs of.

use super::pairs;
use crate::{logs::many::Selection, service::Error};

/// The most containers and labels that a query may name.
const MAX: usize = 256;

/// The label that Docker Compose puts on what belongs to a project.
const PROJECT: &str = "com.docker.compose.project";

/// Reads `container` and `label`, each any number of times, `project` and `all`.
///
/// # Errors
///
/// [`Error::Bad`] for a name that is none, and where nothing is selected.
pub fn selection(query: &str) -> Result<Selection, Error> {
    let mut selection = Selection::default();
    let (mut all, mut project) = (false, false);
    let mut labels = Vec::new();
    for (name, value) in pairs(query)? {
        match name.as_ref() {
            "container" => {
                let bad = |error| Error::Bad(format!("{value:?} is {error}."));
                selection.containers.push(value.parse().map_err(bad)?);
            }
            "label" if value.is_empty() || value.starts_with('=') => {
                return Err(Error::Bad(
                    "The parameter label must be key or key=value.".into(),
                ));
            }
            "label" => labels.push(value.into_owned()),
            "project" if value.is_empty() => {
                return Err(Error::Bad("The parameter project must be a name.".into()));
            }
            // A container has one, so that none would be in both.
            "project" if project => {
                return Err(Error::Bad("The parameter project is given twice.".into()));
            }
            "project" => {
                project = true;
                labels.push(format!("{PROJECT}={value}"));
            }
            "all" => match value.as_ref() {
                "true" | "1" => all = true,
                "false" | "0" => {}
                _ => {
                    return Err(Error::Bad(
                        "The parameter all must be true or false.".into(),
                    ));
                }
            },
            _ => {}
        }
    }
    if selection.containers.len() + labels.len() > MAX {
        return Err(Error::Bad(format!(
            "A query may name {MAX} containers and labels."
        )));
    }
    if all || !labels.is_empty() {
        selection.labels = Some(labels);
    } else if selection.containers.is_empty() {
        let want = "Say which containers: container, label, project or all=true.";
        return Err(Error::Bad(want.into()));
    }
    Ok(selection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_selects_containers() {
        let read = selection("container=a&container=b&tail=3").unwrap();
        assert_eq!(read.containers.len(), 2);
        assert_eq!(read.labels, None);
        let read = selection("label=x&label=y%3Dz&project=shop").unwrap();
        let labels = ["x", "y=z", "com.docker.compose.project=shop"].map(String::from);
        assert_eq!(read.labels, Some(labels.into()));
        assert_eq!(selection("all=true").unwrap().labels, Some(Vec::new()));
    }

    #[test]
    fn refuses_what_selects_nothing() {
        for query in [
            "",
            "all=false",
            "all=x",
            "container=",
            "container=a%2Fb",
            "label=",
            "label==x",
            "project=a&project=b",
        ] {
            assert!(selection(query).is_err(), "{query}");
        }
    }
}
