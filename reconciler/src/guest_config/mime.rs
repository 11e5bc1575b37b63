//! A MIME message of several parts, as cloudbase-init takes it: line breaks of one byte, and `Content-Type` spelled
//! so, since it looks for these very letters. Every part is in base64, so that none can hold a boundary and no line
//! of a log shows a password to who passes by.

use base64ct::{Base64, Encoding};

/// No base64 text has a `_`.
const BOUNDARY: &str = "labyard_part";
const LINE: usize = 76;

/// A part of a message.
pub(super) struct Part<'a> {
    /// Its type.
    pub(super) content_type: &'static str,
    /// The name of the file it becomes.
    pub(super) file_name: &'static str,
    /// What is in it.
    pub(super) content: &'a str,
}

/// The message.
pub(super) fn write(parts: &[Part<'_>]) -> String {
    let mut text = format!("Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\nMIME-Version: 1.0\n\n");
    for part in parts {
        text += &format!(
            "--{BOUNDARY}\nContent-Type: {}; charset=\"utf-8\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\
             Content-Disposition: attachment; filename=\"{}\"\n\n",
            part.content_type, part.file_name
        );
        let encoded = Base64::encode_string(part.content.as_bytes());
        for line in encoded.as_bytes().chunks(LINE) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
    }
    text + &format!("--{BOUNDARY}--\n")
}

/// The part of a message of [`write`] that has this file name; any text may be given.
pub(super) fn part(message: &str, file_name: &str) -> Option<String> {
    let head = format!("filename=\"{file_name}\"\n\n");
    let parts = message.strip_prefix("Content-Type: multipart/mixed; boundary=\"labyard_part\"\n")?;
    let body = parts
        .split("--labyard_part")
        .find_map(|part| part.split_once(&head).map(|(_, body)| body))?;
    let joined: String = body.lines().collect();
    String::from_utf8(Base64::decode_vec(&joined).ok()?).ok()
}
