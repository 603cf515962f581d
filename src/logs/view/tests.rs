//! What is shown of lines, and in which order the rules apply.

use futures_util::{FutureExt, StreamExt, stream};

use super::*;
use crate::{engine::Env, logs::Redaction};

fn line(text: &'static str) -> Line {
    Line {
        source: Source::Stdout,
        bytes: Bytes::from_static(text.as_bytes()),
        stamp: 5,
        continued: false,
        more: false,
        cut: false,
        first: false,
        open: false,
        given: false,
    }
}

fn show(rules: Rules, text: &'static str) -> Option<String> {
    let line = View::new(rules).show(line(text))?;
    Some(String::from_utf8(line.bytes.to_vec()).unwrap())
}

fn secrets() -> Option<Secrets> {
    Redaction::new(true, &[]).secrets(&Env(vec!["KEY=hunter2".into()]), false)
}

fn grep(texts: &[&str]) -> Vec<Finder<'static>> {
    let finders = texts.iter().map(|text| Finder::new(text.as_bytes()));
    finders.map(Finder::into_owned).collect()
}

fn regex(text: &str) -> Option<Arc<Regex>> {
    Some(Arc::new(Regex::new(text).unwrap()))
}

#[test]
fn shows_a_line_as_it_is_where_nothing_is_asked() {
    let view = View::new(Rules::default());
    assert!(view.is_plain());
    let line = line("TIME \x1b[1mtext");
    let shown = view.show(line.clone()).unwrap();
    // The very bytes, not a copy.
    assert_eq!(shown.bytes.as_ptr(), line.bytes.as_ptr());
    assert_eq!(shown, line);
}

#[test]
fn is_not_plain_with_any_rule() {
    for rules in [
        Rules {
            source: Some(Source::Stdout),
            ..Rules::default()
        },
        Rules {
            strip_ansi: true,
            ..Rules::default()
        },
        Rules {
            secrets: secrets(),
            ..Rules::default()
        },
        Rules {
            grep: grep(&["x"]),
            ..Rules::default()
        },
        Rules {
            regex: regex("x"),
            ..Rules::default()
        },
        Rules {
            without_time: true,
            ..Rules::default()
        },
    ] {
        assert!(!View::new(rules.clone()).is_plain(), "{rules:?}");
    }
}

#[test]
fn does_not_search_the_time() {
    assert!(
        show(
            Rules {
                grep: grep(&["TIME"]),
                ..Rules::default()
            },
            "TIME text"
        )
        .is_none()
    );
    assert!(
        show(
            Rules {
                regex: regex("^text$"),
                ..Rules::default()
            },
            "TIME text"
        )
        .is_some()
    );
}

#[test]
fn all_that_is_searched_for_must_be_there() {
    let both = Rules {
        grep: grep(&["one", "two"]),
        regex: regex("t.o"),
        ..Rules::default()
    };
    assert!(show(both.clone(), "TIME two one").is_some());
    assert!(show(both.clone(), "TIME one").is_none());
    assert!(
        show(
            Rules {
                regex: regex("t.x"),
                ..both
            },
            "TIME two one"
        )
        .is_none()
    );
}

#[test]
fn nobody_finds_a_secret_by_searching_for_it() {
    for search in ["hunter2", "hun", "2"] {
        let rules = Rules {
            secrets: secrets(),
            grep: grep(&[search]),
            ..Rules::default()
        };
        assert!(show(rules, "TIME is hunter").is_some() == (search == "hun"));
        let rules = Rules {
            secrets: secrets(),
            grep: grep(&[search]),
            ..Rules::default()
        };
        assert!(show(rules, "TIME is hunter2").is_none(), "{search}");
        let rules = Rules {
            secrets: secrets(),
            regex: regex(search),
            ..Rules::default()
        };
        assert!(show(rules, "TIME is hunter2").is_none(), "{search}");
    }
}

/// A sequence may stand in a secret, and one that broke off in front of it take what it begins with.
#[test]
fn finds_secrets_among_escapes() {
    for (text, stripped, with_escapes) in [
        (
            "hun\x1b[1mter2\x1b[m",
            "[redacted KEY]",
            "[redacted KEY]\x1b[m",
        ),
        (
            "\x1b[1mhunter2\x1b[m",
            "[redacted KEY]",
            "\x1b[1m[redacted KEY]\x1b[m",
        ),
        (
            "is \x1b[hunter2, \x1bhunter2!",
            "is [redacted KEY], [redacted KEY]!",
            "is \x1b[[redacted KEY], \x1b[redacted KEY]!",
        ),
        (
            "a \x1b]0;hunter2\x07title",
            "a title",
            "a \x1b]0;[redacted KEY]\x07title",
        ),
        (
            "a \x1b[31mcolour\x1b[m",
            "a colour",
            "a \x1b[31mcolour\x1b[m",
        ),
        (
            "\x1b[1mhunhun\x1b[mter2hunter\x1b[1m2",
            "hun[redacted KEY][redacted KEY]",
            "\x1b[1mhun[redacted KEY][redacted KEY]",
        ),
    ] {
        for (strip_ansi, wanted) in [(true, stripped), (false, with_escapes)] {
            let secrets = secrets();
            let rules = Rules {
                secrets,
                strip_ansi,
                ..Rules::default()
            };
            let text = format!("TIME {text}");
            let shown = View::new(rules)
                .show(Line {
                    stamp: 5,
                    ..Line::bare(text)
                })
                .unwrap();
            let shown = String::from_utf8_lossy(shown.text());
            assert_eq!(shown, wanted);
        }
    }
}

#[test]
fn leaves_the_time_out_last() {
    let rules = Rules {
        secrets: secrets(),
        without_time: true,
        ..Rules::default()
    };
    let shown = View::new(rules).show(line("TIME hunter2")).unwrap();
    assert_eq!((shown.stamp, shown.text()), (0, &b"[redacted KEY]"[..]));
}

#[test]
fn lets_others_have_their_turn_while_nothing_is_found() {
    let rules = Rules {
        grep: grep(&["found"]),
        ..Rules::default()
    };
    let many = TURN / "TIME text".len();
    let lines = std::iter::repeat_n("TIME text", many).chain(["TIME found"]);
    let mut shown = View::new(rules).of(stream::iter(lines.map(|text| Ok(line(text)))));
    assert!(shown.next().now_or_never().is_none());
    let found = shown.next().now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(found.text(), b"found");
    assert!(shown.next().now_or_never().unwrap().is_none());
}

#[test]
fn searches_no_more_of_a_line_than_may_take_long() {
    let view = View::new(Rules {
        regex: regex("needle"),
        ..Rules::default()
    });
    for (at, is_found) in [(SEARCHED - 6, true), (SEARCHED - 5, false)] {
        let text = ["x".repeat(at).as_str(), "needle"].concat();
        assert_eq!(view.show(Line::bare(text)).is_some(), is_found, "{at}");
    }
}

#[test]
fn views_are_alike_only_if_all_their_rules_are() {
    let secrets = |variable: &str| {
        let env = Env(vec![variable.into()]);
        Redaction::new(true, &[]).secrets(&env, false)
    };
    let rules = || Rules {
        source: Some(Source::Stdout),
        strip_ansi: true,
        secrets: secrets("KEY=hunter2"),
        grep: grep(&["a", "b"]),
        regex: regex("c"),
        without_time: true,
    };
    let view = View::new(rules());
    assert_eq!(view, View::new(rules()));
    let change = |how: fn(&mut Rules)| {
        let mut rules = rules();
        how(&mut rules);
        rules
    };
    let with_secrets = |variable| Rules {
        secrets: secrets(variable),
        ..rules()
    };
    for other in [
        change(|rules| rules.source = None),
        change(|rules| rules.source = Some(Source::Stderr)),
        change(|rules| rules.strip_ansi = false),
        change(|rules| rules.secrets = None),
        with_secrets("KEY=hunter3"),
        with_secrets("TOKEN=hunter2"),
        change(|rules| rules.grep = grep(&["a"])),
        change(|rules| rules.grep = grep(&["a", "c"])),
        change(|rules| rules.grep = grep(&["a", "b", "c"])),
        change(|rules| rules.regex = None),
        change(|rules| rules.regex = regex("d")),
        change(|rules| rules.without_time = false),
        Rules::default(),
    ] {
        assert_ne!(view, View::new(other.clone()), "{other:?}");
    }
}
