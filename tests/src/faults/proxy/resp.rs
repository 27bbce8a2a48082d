//! Where a value of the Redis protocol ends.
//!
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>, versions 2 and 3.

/// The first byte of what a server says without having been asked.
pub(super) const PUSH: u8 = b'>';

/// The length of the first value, once it is whole.
pub(super) fn value(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number =
        || str::from_utf8(&bytes[1..line - 2]).ok().and_then(|text| text.parse::<i64>().ok()).unwrap_or(-1);
    let values = match bytes[0] {
        b'$' | b'=' | b'!' => {
            // -1: there is no value, and so no end of it.
            let Ok(length) = usize::try_from(number()) else { return Some(line) };
            let end = line + length + 2;
            return (bytes.len() >= end).then_some(end);
        }
        b'*' | b'~' | PUSH => usize::try_from(number()).unwrap_or(0),
        b'%' => 2 * usize::try_from(number()).unwrap_or(0),
        _ => 0,
    };
    let mut end = line;
    for _ in 0..values {
        end += value(&bytes[end..])?;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_it_ends_and_not_before_it_is_whole() {
        for whole in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":12\r\n",
            "_\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "$0\r\n\r\n",
            "$5\r\na\r\nbc\r\n",
            "*0\r\n",
            "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n",
            "*2\r\n*1\r\n:1\r\n$-1\r\n",
            "%1\r\n+key\r\n*1\r\n:1\r\n",
            ">2\r\n+message\r\n+text\r\n",
        ] {
            let stream = format!("{whole}+NEXT\r\n");
            assert_eq!(value(stream.as_bytes()), Some(whole.len()), "{whole:?}");
            for cut in 0..whole.len() {
                assert_eq!(value(&whole.as_bytes()[..cut]), None, "{whole:?} of {cut} bytes");
            }
        }
    }
}
