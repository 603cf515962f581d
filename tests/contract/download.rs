//! `GET /containers/:id/logs/download`: the log as a file.

use http::StatusCode;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::host::{Host, text};
use crate::support::client::Reply;

impl Host {
    /// The file's bytes; its name and type are checked.
    pub async fn download(&self, name: &str) -> String {
        let asked = Timestamp::now().as_second();
        let reply = self
            .agent
            .get(&format!("/containers/{name}/logs/download"))
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let media_type = reply.header("content-type").unwrap();
        assert_eq!(media_type.split(';').next(), Some("text/plain"));
        let given = file_time(&reply).as_second();
        assert!((asked..=Timestamp::now().as_second()).contains(&given));
        reply.text().to_owned()
    }

    /// What `docker logs -t` prints, but for white space at its end.
    async fn docker_logs(&self, name: &str) -> String {
        self.engine.docker(&["logs", "-t", name]).await
    }
}

/// The time in a file's name, which must have the one form.
fn file_time(reply: &Reply) -> Timestamp {
    let disposition = reply.header("content-disposition").unwrap();
    let name = disposition
        .strip_prefix("attachment; filename=\"logs-")
        .unwrap();
    let time = name.strip_suffix(".log\"").unwrap();
    assert_eq!(time.len(), "YYYY-MM-DDTHH-mm-ss".len(), "{disposition}");
    let time = DateTime::strptime("%Y-%m-%dT%H-%M-%S", time).unwrap();
    time.to_zoned(TimeZone::UTC).unwrap().timestamp()
}

#[tokio::test]
async fn gives_the_whole_log_as_docker_logs_does() {
    let host = Host::start().await;
    let name = "download-whole";
    host.ran(name, &[], "seq 1 5000").await;
    let file = host.download(name).await;
    assert_eq!(file.lines().count(), 5000);
    assert!(file.ends_with(" 5000\n"));
    assert_eq!(file.trim_end(), host.docker_logs(name).await);
    host.engine.remove(name).await;
}

#[tokio::test]
async fn adds_no_line_and_takes_none_away() {
    let host = Host::start().await;
    let name = "download-blank";
    host.ran(name, &[], r"printf '\n\none\n\n  two\t\r\n\n\n three'")
        .await;
    let file = host.download(name).await;
    let texts: Vec<_> = file.split('\n').map(text).collect();
    assert_eq!(texts, ["", "", "one", "", "  two\t\r", "", "", " three"]);
    assert_eq!(file.trim_end(), host.docker_logs(name).await);
    host.engine.remove(name).await;
}

#[tokio::test]
async fn gives_both_outputs() {
    let host = Host::start().await;
    let name = "download-both";
    host.ran(name, &[], "echo out; echo err >&2").await;
    let file = host.download(name).await;
    let mut texts: Vec<_> = file.lines().map(text).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["err", "out"]);
    host.engine.remove(name).await;
}

#[tokio::test]
async fn gives_an_empty_file_of_a_silent_container() {
    let host = Host::start().await;
    host.ran("download-silent", &[], ":").await;
    assert_eq!(host.download("download-silent").await, "");
    host.engine.remove("download-silent").await;
}
