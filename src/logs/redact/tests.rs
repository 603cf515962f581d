//! What is hidden of a log, and that nothing of a secret is left, wherever lines are cut.

use bytes::Bytes;
use futures_util::{FutureExt, TryStreamExt, stream};

use super::*;
use crate::logs::{View, decode, view::Rules};

const TIME: &str = "2024-05-06T07:08:09.000000001Z ";

fn env(variables: &[&str]) -> Env {
    Env(variables.iter().map(ToString::to_string).collect())
}

fn secrets(variables: &[&str]) -> Option<Secrets> {
    Redaction::default().secrets(&env(variables), true)
}

/// A line of a log without times, its edges where the text's are.
fn line(text: &str) -> Line {
    Line::bare(text.to_owned())
}

fn hide(variables: &[&str], line: &Line) -> String {
    let secrets = secrets(variables).unwrap();
    let plain = Plain::of(line.text());
    let text = secrets.hide(line, plain.as_ref(), false);
    let text = text.unwrap_or_else(|| line.text().to_vec());
    String::from_utf8(text).unwrap()
}

#[test]
fn knows_a_secret_by_its_name() {
    for name in [
        "DB_PASSWORD",
        "password",
        "MyTokenFile",
        "secret",
        "APIKEY",
        "KEY",
    ] {
        assert!(secrets(&[&format!("{name}=hunter2")]).is_some(), "{name}");
    }
    for variable in [
        "PATH=/usr/bin",
        "PASSWD=hunter2",
        "PASSWORD",
        "PASSWORD=",
        "TOKEN=abc",
    ] {
        assert!(secrets(&[variable]).is_none(), "{variable}");
    }
    let redaction = Redaction::new(false, &["passwd".into(), " dsn ".into(), String::new()]);
    for (variable, is_secret) in [
        ("PASSWD=hunter2", true),
        ("DB_DSN=hunter2", true),
        ("PATH=/bin", false),
    ] {
        let secrets = redaction.secrets(&env(&[variable]), true);
        assert_eq!(secrets.is_some(), is_secret, "{variable}");
    }
}

#[test]
fn hides_where_it_is_asked_for_or_forced() {
    let env = env(&["KEY=hunter2"]);
    for (forced, asked) in [(false, false), (false, true), (true, false), (true, true)] {
        let secrets = Redaction::new(forced, &[]).secrets(&env, asked);
        assert_eq!(secrets.is_some(), forced || asked);
    }
}

#[test]
fn puts_the_names_in_place_of_the_values() {
    let variables = [
        "A_KEY=hunter2",
        "B_KEY=hunter2-and-more",
        "C_KEY=a=b c",
        "D_KEY=\u{e4}\u{20ac}",
    ];
    for (text, expected) in [
        ("nothing here", "nothing here"),
        ("hunter2", "[redacted A_KEY]"),
        ("x hunter2hunter2 y", "x [redacted A_KEY][redacted A_KEY] y"),
        // The longest, not the first.
        ("hunter2-and-more!", "[redacted B_KEY]!"),
        ("hunter2-and-mora", "[redacted A_KEY]-and-mora"),
        ("(a=b c)", "([redacted C_KEY])"),
        ("ä€", "[redacted D_KEY]"),
        ("Hunter2 hunter", "Hunter2 hunter"),
    ] {
        assert_eq!(hide(&variables, &line(text)), expected);
    }
}

#[test]
fn leaves_nothing_of_secrets_that_overlap() {
    let variables = [
        "A_KEY=alpha-beta",
        "B_KEY=beta-gamma",
        "C_KEY=ma-delta",
        "D_KEY=eta-g",
        "E_KEY=-_-_",
    ];
    for (text, expected) in [
        ("(alpha-beta-gamma)", "([redacted A_KEY])"),
        ("alpha-beta-gamma-delta.", "[redacted A_KEY]."),
        ("beta-gamma-delta", "[redacted B_KEY]"),
        ("beta-g alpha-beta", "b[redacted D_KEY] [redacted A_KEY]"),
        ("<-_-_-_-_->", "<[redacted E_KEY]->"),
        ("alpha-betaalpha-beta", "[redacted A_KEY][redacted A_KEY]"),
    ] {
        assert_eq!(hide(&variables, &line(text)), expected);
    }
    let more = Line {
        more: true,
        ..line("say alpha-beta-gam")
    };
    assert_eq!(hide(&variables, &more), "say [redacted A_KEY]");
}

#[test]
fn searches_a_value_of_many_lines_line_by_line() {
    let pem = "PEM_KEY=-----BEGIN-----\nMIIEabc\r\nxyz\n-----END-----\n";
    for (text, expected) in [
        ("-----BEGIN-----", "[redacted PEM_KEY]"),
        ("> MIIEabc", "> [redacted PEM_KEY]"),
        ("xyz", "xyz"),
    ] {
        assert_eq!(hide(&[pem], &line(text)), expected);
    }
}

#[test]
fn hides_the_half_of_a_secret_at_a_cut() {
    let variables = ["A_KEY=hunter2", "B_KEY=ter2x"];
    let more = Line {
        more: true,
        ..line("say hun")
    };
    assert_eq!(hide(&variables, &more), "say [redacted A_KEY]");
    let continued = Line {
        continued: true,
        ..line("ter2 said")
    };
    assert_eq!(hide(&variables, &continued), "[redacted A_KEY] said");
    let both = Line {
        more: true,
        ..line("hunter2")
    };
    assert_eq!(hide(&variables, &both), "[redacted A_KEY]");
    let within = Line {
        continued: true,
        more: true,
        ..line("unter")
    };
    assert_eq!(hide(&variables, &within), "[redacted A_KEY]");
    let not_cut = line("ter2 hun");
    assert_eq!(hide(&variables, &not_cut), "ter2 hun");
}

#[test]
fn hides_more_than_a_few_bytes_where_there_may_be_a_cut() {
    let variables = ["A_KEY=hunter2"];
    for (text, expected) in [
        ("nter2 said", "[redacted A_KEY] said"),
        ("er2 said", "er2 said"),
    ] {
        let first = Line {
            first: true,
            ..line(text)
        };
        assert_eq!(hide(&variables, &first), expected);
    }
    for (text, expected) in [("say hunt", "say [redacted A_KEY]"), ("say hun", "say hun")] {
        let open = Line {
            open: true,
            ..line(text)
        };
        assert_eq!(hide(&variables, &open), expected);
    }
}

#[test]
fn does_not_print_what_it_hides() {
    let view = View::new(Rules {
        secrets: secrets(&["KEY=hunter2"]),
        ..Rules::default()
    });
    assert!(!format!("{view:?}").contains("hunter2"));
}

fn frame(text: &[u8]) -> Vec<u8> {
    let payload = [TIME.as_bytes(), text].concat();
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[1, 0, 0, 0], &len[..], &payload].concat()
}

/// The texts that are shown of a log in these reads.
fn shown(reads: &[&[u8]], variables: &[&str], max_line: usize) -> Vec<String> {
    let reads: Vec<_> = reads
        .iter()
        .map(|read| Ok(Bytes::copy_from_slice(read)))
        .collect();
    let view = View::new(Rules {
        secrets: secrets(variables),
        without_time: true,
        ..Rules::default()
    });
    let lines: Vec<Line> = view
        .of(decode(stream::iter(reads), false, max_line))
        .try_collect()
        .now_or_never()
        .unwrap()
        .unwrap();
    let texts = lines
        .iter()
        .map(|line| String::from_utf8(line.bytes.to_vec()).unwrap());
    texts.collect()
}

#[test]
fn a_secret_is_hidden_however_frames_and_reads_cut_it() {
    let text = b"before hunter2 after\n";
    for cut in 0..text.len() {
        // The engine's own cut, then any cut of the reads.
        let log = [frame(&text[..cut]), frame(&text[cut..])].concat();
        for at in 0..=log.len() {
            let seen = shown(&[&log[..at], &log[at..]], &["KEY=hunter2"], 1 << 20);
            assert_eq!(seen, ["before [redacted KEY] after"], "{cut}, {at}");
        }
    }
}

#[test]
fn nothing_of_a_secret_is_left_wherever_a_long_line_is_cut() {
    // No byte of the secrets is in the text around them.
    for secret in ["hunter2x", "hunter2xyzhunter2xyzhunter2xyz"] {
        let variable = format!("A_KEY={secret}");
        for before in 0..24 {
            let text = format!("{}{secret}{}\n", "-".repeat(before), "-".repeat(24));
            let log = frame(text.as_bytes());
            for max_line in 4..20 {
                let seen = shown(&[&log], &[&variable], max_line);
                assert!(seen.len() > 1);
                let rest = seen.concat().replace("[redacted A_KEY]", "");
                assert_eq!(rest, "-".repeat(before + 24), "{before}, {max_line}");
            }
        }
    }
}

#[test]
fn hides_both_halves_of_a_secret_that_two_records_tear() {
    // The container was killed within the line, and started again.
    let other = frame(b"nter2 after\n");
    let mut log = frame(b"before hu");
    let second = String::from_utf8(other).unwrap().replace(":09.", ":10.");
    log.extend_from_slice(second.as_bytes());
    let seen = shown(&[&log], &["KEY=hunter2"], 1 << 20);
    assert_eq!(seen, ["before [redacted KEY]", "[redacted KEY] after"]);
}

#[test]
fn finds_the_longest_overlap() {
    for (pattern, text, expected) in [
        ("abcd", "xab", 2),
        ("abab", "ababab", 4),
        ("aaab", "aaaa", 3),
        ("abac", "aba", 3),
        ("abac", "abad", 0),
        ("a", "", 0),
    ] {
        assert_eq!(
            overlap(pattern.as_bytes(), text.as_bytes()),
            expected,
            "{pattern} {text}"
        );
    }
}

#[test]
fn hides_what_is_printed_without_the_end_of_its_line() {
    let text = hide(&["A_KEY=hunter2\r\nhunter3\r"], &line("hunter2, hunter3"));
    assert_eq!(text, "[redacted A_KEY], [redacted A_KEY]");
}

#[test]
fn hides_a_value_with_control_characters_where_those_are_taken_out_too() {
    let secrets = secrets(&["B_KEY=pa\u{7}ss-\u{1b}[1mword"]);
    for (strip_ansi, text) in [
        (false, "x=pa\u{7}ss-\u{1b}[1mword"),
        (true, "x=pa\u{7}ss-\u{1b}[1mword"),
        (true, "x=pass-\u{1b}[0mword"),
    ] {
        let view = View::new(Rules {
            strip_ansi,
            secrets: secrets.clone(),
            ..Rules::default()
        });
        let shown = view.show(line(text)).unwrap();
        assert_eq!(shown.text(), b"x=[redacted B_KEY]", "{text:?}");
    }
}

/// Each byte of such a line ends as many values as there are.
#[test]
fn takes_no_longer_for_many_values_that_are_parts_of_one_another() {
    let begun = std::time::Instant::now();
    let variables: Vec<_> = (4..1500)
        .flat_map(|len| [1, 2].map(|twice| format!("KEY{twice}_{len}={}", "a".repeat(len))))
        .collect();
    let variables: Vec<_> = variables.iter().map(String::as_str).collect();
    let text = hide(&variables, &line(&format!("b{}b", "a".repeat(1 << 20))));
    assert_eq!(text, "b[redacted KEY1_1499]b");
    // It takes a quarter of a second without optimization, and a minute where all of them are looked at.
    assert!(begun.elapsed().as_secs() < 10);
}
