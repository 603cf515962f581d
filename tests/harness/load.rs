//! The load program of the benches knows where an answer ends.

#[path = "../../benches/load/answer.rs"]
mod answer;

use self::answer::AnswerReader;

const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab\r\nc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
const SIZED: &[u8] = b"HTTP/1.1 404 Not Found\r\nX: y\r\nContent-Length: 4\r\n\r\nbody";
const EMPTY: &[u8] = b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n";

#[test]
fn finds_the_end_wherever_the_bytes_are_cut() {
    for (answer, status) in [(CHUNKED, 200), (SIZED, 404), (EMPTY, 304)] {
        let twice = [answer, answer].concat();
        for cut in 0..answer.len() {
            let mut reader = AnswerReader::new();
            assert_eq!(reader.feed(&twice[..cut]), Ok(None), "cut at {cut}");
            let rest = answer.len() - cut;
            assert_eq!(reader.feed(&twice[cut..]), Ok(Some((status, rest))));
            assert_eq!(reader.feed(answer), Ok(Some((status, answer.len()))));
        }
    }
}

#[test]
fn refuses_what_is_no_answer() {
    for bytes in [
        &b"HTTP/1.0 200 OK\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        assert!(AnswerReader::new().feed(bytes).is_err());
    }
}
