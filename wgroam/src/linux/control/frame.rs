// SPDX-License-Identifier: GPL-2.0-only
//! How an answer begins: a line with the exit code of the command and, where there is one, a message. What follows,
//! up to the end of the connection, is the body.

use std::io::{self, BufRead, Read};

use crate::model::digits;

/// The longest first line that a reader takes, in bytes.
const MAX_HEADER: u64 = 64 * 1024;

/// The first line of an answer: `0`, or `1 what is wrong`. Line breaks in the message become spaces.
pub fn header(code: u8, message: &str) -> Vec<u8> {
    let mut line = code.to_string();
    if !message.is_empty() {
        line.push(' ');
        line.extend(message.chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
    line.push('\n');
    line.into_bytes()
}

/// Reads what [`header`] wrote: the code and the message, which may be empty.
///
/// # Errors
/// UnexpectedEof: the daemon closed the connection without an answer. InvalidData: this is no answer of a wgroam.
pub fn read_header(from: &mut impl BufRead) -> io::Result<(u8, String)> {
    let mut line = Vec::new();
    from.take(MAX_HEADER).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the daemon ended the connection without an answer",
        ));
    }
    let line = String::from_utf8_lossy(&line);
    let (code, message) = line.split_once(' ').unwrap_or((&line, ""));
    let no_answer = || io::Error::new(io::ErrorKind::InvalidData, "this is not wgroam's answer");
    let code = digits(code).ok_or_else(no_answer)?;
    Ok((code, message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_leaves_the_body() {
        let mut answer = header(1, "no peer kT3x…\nhere");
        answer.extend(b"body\n");
        let mut answer = answer.as_slice();
        assert_eq!(read_header(&mut answer).unwrap(), (1, "no peer kT3x… here".to_owned()));
        assert_eq!(answer, b"body\n");
        assert_eq!(read_header(&mut header(0, "").as_slice()).unwrap(), (0, String::new()));
    }

    #[test]
    fn an_answer_cut_short_or_foreign_is_an_error() {
        for (bytes, kind) in [
            (&b""[..], io::ErrorKind::UnexpectedEof),
            (b"0", io::ErrorKind::UnexpectedEof),
            (b"HTTP/1.1 400\n", io::ErrorKind::InvalidData),
            (b"256\n", io::ErrorKind::InvalidData),
            (b"\xff\n", io::ErrorKind::InvalidData),
        ] {
            assert_eq!(read_header(&mut &bytes[..]).unwrap_err().kind(), kind);
        }
    }
}
