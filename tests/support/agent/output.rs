//! What a process says, line by line, from both of its outputs.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::thread;

use serde_json::Value;
use tokio::sync::watch;

/// Which of the outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Stdout,
    Stderr,
}

/// One line, without its end.
#[derive(Clone, Debug)]
pub struct Line {
    pub source: Source,
    pub text: String,
}

impl Line {
    /// The line as a JSON log event, if it is one.
    pub fn event(&self) -> Option<Value> {
        serde_json::from_str(&self.text)
            .ok()
            .filter(Value::is_object)
    }
}

/// An event's field: beside the level, or in `fields`.
pub(super) fn field<'a>(event: &'a Value, name: &str) -> Option<&'a str> {
    let nested = || event.get("fields")?.get(name);
    event.get(name).or_else(nested)?.as_str()
}

/// All lines so far; `ended` once both outputs are closed.
#[derive(Default)]
pub(super) struct Said {
    pub(super) lines: Vec<Line>,
    open: usize,
}

impl Said {
    pub(super) fn ended(&self) -> bool {
        self.open == 0
    }
}

/// Reads the outputs in threads of its own, so that the process never waits for the test.
pub(super) struct Output(Arc<watch::Sender<Said>>);

impl Output {
    pub(super) fn read(
        stdout: impl Read + Send + 'static,
        stderr: impl Read + Send + 'static,
    ) -> Self {
        let open = 2;
        let said = Arc::new(watch::Sender::new(Said {
            lines: Vec::new(),
            open,
        }));
        read(Source::Stdout, stdout, Arc::clone(&said));
        read(Source::Stderr, stderr, Arc::clone(&said));
        Self(said)
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&Said) -> T) -> T {
        look(&self.0.borrow())
    }

    /// Returns when the condition holds or both outputs have ended; true if it holds.
    pub(super) async fn wait(&self, mut wanted: impl FnMut(&Said) -> bool) -> bool {
        let mut changes = self.0.subscribe();
        let said = changes.wait_for(|said| said.ended() || wanted(said)).await;
        wanted(&said.expect("the sender is ours"))
    }

    /// Everything, for a message.
    pub(super) fn text(&self) -> String {
        self.look(|said| {
            let lines = said.lines.iter().map(|line| line.text.as_str());
            lines.collect::<Vec<_>>().join("\n")
        })
    }
}

fn read(source: Source, output: impl Read + Send + 'static, said: Arc<watch::Sender<Said>>) {
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line).into_owned();
            said.send_modify(|said| said.lines.push(Line { source, text }));
        }
        said.send_modify(|said| said.open -= 1);
    });
}
