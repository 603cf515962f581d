//! A server-sent events parser, after the HTML standard's "Interpreting an event stream".

/// One dispatched event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event:` field; `None` for an unnamed event.
    pub event: Option<String>,
    /// The `data:` lines, joined by line feeds.
    pub data: String,
    /// The `id:` field of this very event.
    pub id: Option<String>,
}

impl Event {
    /// The name, `message` where there is none, as a browser would dispatch it.
    pub fn name(&self) -> &str {
        self.event.as_deref().unwrap_or("message")
    }

    /// The data as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data)
            .unwrap_or_else(|error| panic!("data is no JSON ({error}): {self:?}"))
    }
}

/// Takes bytes cut anywhere, and gives whole events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The last byte was `\r`: a `\n` that follows belongs to it.
    after_cr: bool,
    begun: bool,
    event: Option<String>,
    data: Option<String>,
    id: Option<String>,
    /// Lines that began with a colon.
    pub comments: usize,
    /// The last `id:` seen, as a client would send it in `Last-Event-ID`.
    pub last_id: Option<String>,
    /// The last `retry:`, in milliseconds.
    pub retry: Option<u64>,
}

impl Parser {
    /// The events that these bytes complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()),
                _ => self.line.push(byte),
            }
        }
        events
    }

    /// Whether bytes are held that no blank line has dispatched.
    pub fn is_mid_event(&self) -> bool {
        !self.line.is_empty() || self.data.is_some() || self.event.is_some()
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let line = String::from_utf8(std::mem::take(&mut self.line)).expect("SSE is UTF-8");
        let line = match std::mem::replace(&mut self.begun, true) {
            false => line.strip_prefix('\u{feff}').unwrap_or(&line),
            true => &line,
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comments += 1,
            "event" => self.event = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                none => *none = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => {
                self.id = Some(value.to_owned());
                self.last_id.clone_from(&self.id);
            }
            "retry" => self.retry = value.parse().ok().or(self.retry),
            _ => {}
        }
        None
    }

    /// A blank line: an event without data is dropped, as in the standard.
    fn dispatch(&mut self) -> Option<Event> {
        let (event, id) = (self.event.take(), self.id.take());
        let data = self.data.take()?;
        Some(Event { event, data, id })
    }
}
