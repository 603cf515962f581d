//! The one list of routes. Whatever depends on a path is derived from it; nothing else names one.

use std::{sync::LazyLock, time::Duration};

use http::{Extensions, HeaderValue, Method, Request, header::ACCEPT_ENCODING, uri::PathAndQuery};
use matchit::Router;

use crate::engine::Action;

/// How long an action goes on that nobody waits for any more; a stop, beyond the time that the container has.
pub(super) const UNATTENDED: Duration = Duration::from_secs(10 * 60);

/// What a route does to the host, and how it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asks whether the agent serves; the engine is not asked.
    Probe,
    /// Reads, and answers at once.
    Read,
    /// Reads a log, or what happens, and answers for as long as that takes.
    Stream,
    /// Changes something, at once.
    Action,
    /// Waits for a container to stop, which may take as long as it was promised.
    Stop,
}

/// What answers a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `OK`.
    Health,
    /// Every container.
    Containers,
    /// One container.
    Container,
    /// Do something to one container and answer what it is then.
    Act(Action),
    /// The same, where that waits for the container to stop.
    Stop(Action),
    /// Remove one container.
    RemoveContainer,
    /// A log once, or as a stream of the first dialect.
    Logs,
    /// A log as a stream of the second dialect.
    LogStream,
    /// A log as a file.
    LogDownload,
    /// The logs of many containers as a stream.
    ManyLogs,
    /// The containers as they change.
    ContainerStream,
    /// The engine's events.
    Events,
    /// Every image.
    Images,
    /// One image.
    Image,
    /// Remove one image.
    RemoveImage,
}

/// One row of the table. Every route is a GET, as the app wants it.
#[derive(Debug)]
pub struct Route {
    /// The path, with `{id}` for whatever is named.
    pub template: &'static str,
    /// What answers.
    pub op: Op,
    /// How it behaves.
    pub kind: Kind,
}

/// The table.
pub static ROUTES: [Route; 18] = [
    route("/", Op::Health, Kind::Probe),
    route("/containers", Op::Containers, Kind::Read),
    // A container that is called so is found by its id.
    route("/containers/stream", Op::ContainerStream, Kind::Stream),
    route("/containers/{id}", Op::Container, Kind::Read),
    route(
        "/containers/{id}/start",
        Op::Act(Action::Start),
        Kind::Action,
    ),
    route("/containers/{id}/stop", Op::Stop(Action::Stop), Kind::Stop),
    route(
        "/containers/{id}/restart",
        Op::Stop(Action::Restart),
        Kind::Stop,
    ),
    route(
        "/containers/{id}/pause",
        Op::Act(Action::Pause),
        Kind::Action,
    ),
    route(
        "/containers/{id}/unpause",
        Op::Act(Action::Unpause),
        Kind::Action,
    ),
    route("/containers/{id}/remove", Op::RemoveContainer, Kind::Action),
    route("/containers/{id}/logs", Op::Logs, Kind::Stream),
    route("/containers/{id}/logs/stream", Op::LogStream, Kind::Stream),
    route(
        "/containers/{id}/logs/download",
        Op::LogDownload,
        Kind::Stream,
    ),
    route("/logs/stream", Op::ManyLogs, Kind::Stream),
    route("/events", Op::Events, Kind::Stream),
    route("/images", Op::Images, Kind::Read),
    route("/images/{id}", Op::Image, Kind::Read),
    route("/images/{id}/remove", Op::RemoveImage, Kind::Action),
];

const fn route(template: &'static str, op: Op, kind: Kind) -> Route {
    Route { template, op, kind }
}

impl Route {
    /// Whether asking changes nothing, so that `HEAD` may be asked too.
    pub(super) fn is_safe(&self) -> bool {
        matches!(self.kind, Kind::Probe | Kind::Read | Kind::Stream)
    }

    /// Whether the route answers `method`.
    pub fn takes(&self, method: &Method) -> bool {
        *method == Method::GET || (*method == Method::HEAD && self.is_safe())
    }

    /// The methods it answers, as the header `Allow` has them.
    pub fn allow(&self) -> &'static str {
        if self.is_safe() { "GET, HEAD" } else { "GET" }
    }

    /// How long the head of an answer to `query` may take. A stop sets a limit of its own, since only its handler
    /// knows the container's grace period.
    pub fn limit(&self, query: Option<&str>) -> Option<Duration> {
        match self.kind {
            // The engine walks through all files of all containers.
            Kind::Read if self.op == Op::Containers && query.is_some_and(names_size) => {
                Some(Duration::from_secs(300))
            }
            Kind::Probe | Kind::Read | Kind::Stream => Some(Duration::from_secs(30)),
            Kind::Action => Some(Duration::from_secs(120)),
            Kind::Stop => None,
        }
    }

    /// How long what is asked for goes on when the client has left. A stop takes as long as the container may.
    pub(super) fn longest(&self) -> Duration {
        match self.kind {
            Kind::Stop => Duration::from_secs(24 * 60 * 60),
            _ => UNATTENDED,
        }
    }

    /// The segment of `path` where the template has `{id}`, escapes and all.
    pub fn id<'a>(&self, path: &'a str) -> &'a str {
        let rest = self.template.find("{id}").and_then(|at| path.get(at..));
        let rest = rest.unwrap_or_default();
        &rest[..memchr::memchr(b'/', rest.as_bytes()).unwrap_or(rest.len())]
    }
}

/// Whether a query has the parameter `size`, whatever its value.
fn names_size(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "size")
}

/// The route of a request, in its extensions; none where its path is unknown.
#[derive(Clone, Copy, Debug)]
pub struct Located {
    route: Option<&'static Route>,
    limit: Option<Duration>,
}

impl Located {
    /// The route that [`locate`] has put there.
    pub fn of(extensions: &Extensions) -> Option<&'static Route> {
        extensions.get().and_then(|located: &Self| located.route)
    }
}

/// Looks the request's path up and puts its route into its extensions. Nothing is refused here: what is
/// unknown is found out behind auth only.
pub fn locate<B>(mut request: Request<B>) -> Request<B> {
    static ROUTER: LazyLock<Router<&'static Route>> = LazyLock::new(|| {
        let mut router = Router::new();
        for route in &ROUTES {
            router
                .insert(route.template, route)
                .expect("the templates do not conflict");
        }
        router
    });
    let route = ROUTER
        .at(request.uri().path())
        .ok()
        .map(|found| *found.value);
    let limit = route.and_then(|route| route.limit(request.uri().query()));
    request.extensions_mut().insert(Located { route, limit });
    request
}

/// How long the head of the answer to a request may take; not of a read, which may have to wait for a call that others share.
pub fn limit(extensions: &Extensions) -> Option<Duration> {
    limit_of(extensions, |route| route.kind != Kind::Read)
}

/// How long a call may take that answers reads.
pub fn call_limit(extensions: &Extensions) -> Option<Duration> {
    limit_of(extensions, |route| route.kind == Kind::Read)
}

fn limit_of(extensions: &Extensions, which: impl Fn(&Route) -> bool) -> Option<Duration> {
    let located: &Located = extensions.get()?;
    located.limit.filter(|_| located.route.is_some_and(which))
}

/// Whether the answer to a request may come in several forms: read once for many, known already, packed.
pub fn has_forms(extensions: &Extensions) -> bool {
    Located::of(extensions)
        .is_some_and(|route| route.kind == Kind::Read || route.op == Op::LogDownload)
}

/// Whether a request only asks if the agent serves, as monitors do all the time.
pub fn is_probe(extensions: &Extensions) -> bool {
    Located::of(extensions).is_some_and(|route| route.kind == Kind::Probe)
}

/// What the answer to a read depends on; two reads that have it in common may share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedKey {
    method: Method,
    target: PathAndQuery,
    /// The one that was [chosen](crate::packing::choose).
    coding: Option<HeaderValue>,
}

/// What a request shares its answer by; none where it shares none.
pub fn shared_key<B>(request: &Request<B>) -> Option<SharedKey> {
    let route = Located::of(request.extensions())?;
    if route.kind != Kind::Read || !route.takes(request.method()) {
        return None;
    }
    Some(SharedKey {
        method: request.method().clone(),
        target: request.uri().path_and_query()?.clone(),
        coding: request.headers().get(ACCEPT_ENCODING).cloned(),
    })
}

/// The label of a request's route in metrics and logs.
pub fn label(extensions: &Extensions) -> &'static str {
    Located::of(extensions).map_or("unknown", |route| route.template)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(path: &str) -> Option<&'static Route> {
        let request = locate(Request::builder().uri(path).body(()).unwrap());
        Located::of(request.extensions())
    }

    #[test]
    fn finds_every_route_by_its_own_template() {
        for route in &ROUTES {
            let path = route.template.replace("{id}", "4fa6");
            let found = located(&path).unwrap();
            assert_eq!(found.template, route.template);
            assert_eq!(
                found.id(&path),
                if path == route.template { "" } else { "4fa6" }
            );
        }
    }

    #[test]
    fn knows_nothing_else() {
        for path in [
            "/containers/",
            "/container",
            "//",
            "/containers/a/",
            "/containers/a/kill",
            "/containers//start",
            "/Containers",
            "/containers/a/logs/",
            "/images/a/b",
            "/%63ontainers",
            "/containers/a/b/start",
        ] {
            assert!(located(path).is_none(), "{path}");
        }
    }

    #[test]
    fn reads_share_by_all_that_they_depend_on() {
        let key = |method: &str, path: &str, coding: &str| {
            let request = Request::builder().method(method).uri(path);
            let request = request.header(ACCEPT_ENCODING, coding).body(()).unwrap();
            shared_key(&locate(request))
        };
        let list = key("GET", "/containers", "gzip");
        assert!(list.is_some());
        assert_eq!(list, key("GET", "/containers", "gzip"));
        for other in [
            key("HEAD", "/containers", "gzip"),
            key("GET", "/containers?all=false", "gzip"),
            key("GET", "/containers", "zstd"),
            key("GET", "/images", "gzip"),
            key("POST", "/containers", "gzip"),
        ] {
            assert_ne!(list, other);
        }
        for route in &ROUTES {
            let path = route.template.replace("{id}", "a");
            let shares = key("GET", &path, "gzip").is_some();
            assert_eq!(shares, route.kind == Kind::Read, "{path}");
        }
    }

    #[test]
    fn only_reads_and_downloads_have_forms() {
        for route in &ROUTES {
            let path = route.template.replace("{id}", "a");
            let request = locate(Request::builder().uri(&path).body(()).unwrap());
            let expected = route.kind == Kind::Read || path.ends_with("/download");
            assert_eq!(has_forms(request.extensions()), expected, "{path}");
        }
    }

    #[test]
    fn head_is_for_what_changes_nothing() {
        for route in &ROUTES {
            let acts = matches!(
                route.op,
                Op::Act(_) | Op::Stop(_) | Op::RemoveContainer | Op::RemoveImage
            );
            assert_eq!(route.takes(&Method::HEAD), !acts, "{}", route.template);
            assert_eq!(route.allow().contains("HEAD"), !acts);
            assert!(route.takes(&Method::GET));
            assert!(!route.takes(&Method::POST));
        }
    }
}
