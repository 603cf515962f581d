//! Log bytes as the engine writes them.

/// A frame's first byte for what the container wrote to its standard output.
pub const STDOUT: u8 = 1;
/// A frame's first byte for what the container wrote to its standard error.
pub const STDERR: u8 = 2;

/// 2024-01-01T00:00:00Z.
const EPOCH_SECONDS: i64 = 1_704_067_200;

/// One frame: the stream, three zero bytes, the length (big-endian), the payload.
pub fn frame(stream: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).expect("a frame holds less than 4 GiB");
    let mut frame = vec![stream, 0, 0, 0];
    frame.extend(length.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A log line `2024-01-01T00:00:00.000000001Z text\n`, this many nanoseconds after the start of 2024.
pub fn line(nanos: u64, text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut line = timestamp(nanos).into_bytes();
    line.push(b' ');
    line.extend(text.as_ref());
    line.push(b'\n');
    line
}

/// The moment this many nanoseconds after the start of 2024, with nine decimals.
pub fn timestamp(nanos: u64) -> String {
    let moment = i128::from(EPOCH_SECONDS) * 1_000_000_000 + i128::from(nanos);
    let moment = jiff::Timestamp::from_nanosecond(moment).expect("a moment before the year 2609");
    moment.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}
