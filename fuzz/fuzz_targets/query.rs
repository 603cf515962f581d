//! Any query and any name: no panic, and what is accepted says the same when it is written again.

#![no_main]

use arbitrary::Arbitrary;
use docker_ps_agent::{
    engine::{ContainerId, ImageName, Tail},
    service::query::{LogParams, name},
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Query(&'a str),
    /// Beginnings that are worth something, which chance alone finds too seldom.
    Pairs(Vec<(Name, Value<'a>)>),
    Name(&'a str),
}

#[derive(Arbitrary, Debug)]
enum Name {
    Follow,
    Tail,
    Since,
    Until,
    After,
    Ansi,
    Format,
    Grep,
    Redact,
    Regex,
    Restarts,
    Stream,
    Timestamps,
}

#[derive(Arbitrary, Debug)]
enum Value<'a> {
    Text(&'a str),
    Number(i64),
    Time(u32, u32),
}

fn write(params: &LogParams) -> String {
    let query = params.query(Tail::All);
    let mut text = format!("follow={}&tail={}", params.follow, query.tail);
    for (name, time) in [("since", query.since), ("until", query.until)] {
        if let Some(time) = time {
            let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
            text += &format!("&{name}={seconds}.{nanos:09}");
        }
    }
    text
}

fn check_query(text: &str) {
    let Ok(params) = LogParams::parse(text) else {
        return;
    };
    let again = LogParams::parse(&write(&params)).expect("what was accepted is accepted again");
    assert_eq!(again.follow, params.follow);
    assert_eq!(again.query(Tail::Lines(1)), params.query(Tail::All));
}

fuzz_target!(|input: Input| match input {
    Input::Query(text) => check_query(text),
    Input::Pairs(pairs) => {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = format!("{name:?}").to_lowercase();
            match value {
                Value::Text(text) => format!("{name}={text}"),
                Value::Number(number) => format!("{name}={number}"),
                Value::Time(seconds, nanos) => format!("{name}={seconds}.{nanos}"),
            }
        });
        check_query(&pairs.collect::<Vec<_>>().join("&"));
    }
    Input::Name(segment) => {
        if let Ok(id) = name::<ContainerId>(segment) {
            // Nothing that has to be escaped in a path passes, so it is its own escape.
            assert_eq!(name::<ContainerId>(id.as_str()).unwrap(), id);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
            assert!(id.as_str().bytes().all(plain) && !id.as_str().starts_with('.'));
        }
        if let Ok(image) = name::<ImageName>(segment) {
            let text = image.as_str();
            assert_eq!(name::<ImageName>(text).unwrap(), image);
            assert_eq!(name::<ImageName>(&text.replace('/', "%2F")).unwrap(), image);
            assert!(
                text.split('/')
                    .all(|part| !part.is_empty() && !part.starts_with('.'))
            );
        }
    }
});
