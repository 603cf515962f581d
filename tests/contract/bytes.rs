//! What is not text becomes U+FFFD, and nothing else is altered.

use super::host::{Host, frames, text};

/// The engine's default log driver replaces such bytes itself; this one keeps them.
const KEEPING: [&str; 1] = ["--log-driver=local"];

#[tokio::test]
async fn replaces_what_is_no_utf_8() {
    let host = Host::start().await;
    let name = "bytes-bad";
    let script = r"printf 'a\377b\nc\303\nd\303\251\360\237\220\263e\n\355\240\200\n'";
    host.ran(name, &KEEPING, script).await;
    let log = host.raw_log(name).await;
    assert!(log.contains(&0xff), "the engine sends the byte as it is");
    let expected = [
        "a\u{fffd}b",
        "c\u{fffd}",
        "dé🐳e",
        "\u{fffd}\u{fffd}\u{fffd}",
    ];
    assert_eq!(host.texts(name).await, expected);
    let file = host.download(name).await;
    assert_eq!(file.lines().map(text).collect::<Vec<_>>(), expected);
    host.engine.remove(name).await;
}

#[tokio::test]
async fn keeps_characters_whole_where_the_engine_cuts_through_them() {
    let host = Host::start().await;
    let line = |before| "x".repeat(before) + "🐳 é";
    let script = |before| {
        format!(r"head -c {before} /dev/zero | tr '\000' x; printf '\360\237\220\263 é\n'")
    };
    // After each byte of a character of four.
    let places = [16381, 16382, 16383];
    let name = "bytes-cut";
    host.ran(name, &KEEPING, &places.map(script).join("; "))
        .await;
    let cut = frames(&host.raw_log(name).await);
    assert_eq!(cut.len(), 6, "the engine cuts each line once");
    assert_eq!(host.texts(name).await, places.map(line));
    host.engine.remove(name).await;

    // With a terminal one by one: this driver forgets the newline of a line that was cut.
    let name = "bytes-cut-terminal";
    for before in places {
        let options = [KEEPING[0], "-t"];
        host.ran(name, &options, &script(before)).await;
        assert_eq!(host.texts(name).await, [line(before)]);
        host.engine.remove(name).await;
    }
}

#[tokio::test]
async fn keeps_everything_else() {
    let host = Host::start().await;
    let name = "bytes-kept";
    let script = r#"printf '\t\033[1mbold\033[0m \001\002\000\037\177\n"\\ /\b\f\rx\r\n\342\200\250\357\273\277 \357\277\275\n'"#;
    host.ran(name, &[], script).await;
    let expected = [
        "\t\u{1b}[1mbold\u{1b}[0m \u{1}\u{2}\0\u{1f}\u{7f}",
        "\"\\ /\u{8}\u{c}\rx\r",
        "\u{2028}\u{feff} \u{fffd}",
    ];
    assert_eq!(host.texts(name).await, expected);
    let file = host.download(name).await;
    assert_eq!(
        file.split_terminator('\n').map(text).collect::<Vec<_>>(),
        expected
    );
    host.engine.remove(name).await;
}
