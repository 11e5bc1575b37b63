//! What cloud-init will take a user-data for. It is passed on as it is; this only allows a timely word of advice,
//! because cloud-init drops what it does not recognise with no more than a line in the guest's log.

/// What a user-data looks like to cloud-init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing in it.
    Empty,
    /// `#cloud-config`.
    CloudConfig,
    /// `#cloud-config-archive`.
    CloudConfigArchive,
    /// `#cloud-config-jsonp`.
    CloudConfigJsonPatch,
    /// `#!`.
    Script,
    /// `#cloud-boothook`.
    Boothook,
    /// `#part-handler`.
    PartHandler,
    /// `#include` and `#include-once`.
    Include,
    /// `## template: jinja`.
    Jinja,
    /// A MIME message of several parts.
    Mime,
    /// gzip, which cloud-init unpacks and looks at again.
    Gzip,
    /// None of these.
    Unknown,
}

/// What each kind begins with, the longer before its own prefix. cloud-init skips blanks and ignores case.
const BEGINNINGS: [(&str, Kind); 10] = [
    ("#cloud-config-archive", Kind::CloudConfigArchive),
    ("#cloud-config-jsonp", Kind::CloudConfigJsonPatch),
    ("#cloud-config", Kind::CloudConfig),
    ("#cloud-boothook", Kind::Boothook),
    ("#part-handler", Kind::PartHandler),
    ("#include", Kind::Include),
    ("#!", Kind::Script),
    ("## template: jinja", Kind::Jinja),
    ("content-type:", Kind::Mime),
    ("mime-version:", Kind::Mime),
];

/// Judges by the beginning, as cloud-init does.
pub fn looks_like(user_data: &[u8]) -> Kind {
    if user_data.starts_with(&[0x1f, 0x8b]) {
        return Kind::Gzip;
    }
    let text = user_data.trim_ascii_start();
    if text.is_empty() {
        return Kind::Empty;
    }
    let begins = |with: &str| {
        text.get(..with.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(with.as_bytes()))
    };
    BEGINNINGS
        .iter()
        .find(|(beginning, _)| begins(beginning))
        .map_or(Kind::Unknown, |(_, kind)| *kind)
}

impl Kind {
    /// A warning for the plan, where one is due.
    pub fn advice(self) -> Option<&'static str> {
        (self == Kind::Unknown).then_some(
            "cloud-init will not recognise this user_data and the guest will ignore it: its first line should be \
             #cloud-config (without a blank), #! and an interpreter, #include, ## template: jinja, or the header \
             of a MIME message",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known_by_its_beginning() {
        let cases = [
            ("", Kind::Empty),
            (" \n", Kind::Empty),
            ("#cloud-config\nusers: []", Kind::CloudConfig),
            ("\n#Cloud-Config", Kind::CloudConfig),
            ("#cloud-config-archive\n", Kind::CloudConfigArchive),
            ("#cloud-config-jsonp\n", Kind::CloudConfigJsonPatch),
            ("#!/bin/sh\n", Kind::Script),
            ("#cloud-boothook\n", Kind::Boothook),
            ("#part-handler\n", Kind::PartHandler),
            ("#include-once\nhttps://x", Kind::Include),
            ("## template: jinja\n#cloud-config", Kind::Jinja),
            ("MIME-Version: 1.0\n", Kind::Mime),
            ("Content-Type: multipart/mixed; boundary=x\n", Kind::Mime),
        ];
        for (text, kind) in cases {
            assert_eq!(looks_like(text.as_bytes()), kind, "{text:?}");
            assert_eq!(kind.advice(), None);
        }
        assert_eq!(looks_like(b"\x1f\x8b\x08"), Kind::Gzip);
    }

    #[test]
    fn what_cloud_init_would_ignore_gets_advice() {
        for text in [
            "# cloud-config\n",
            "cloud-config",
            "users: []",
            "\u{feff}#cloud-config",
        ] {
            assert_eq!(looks_like(text.as_bytes()), Kind::Unknown, "{text:?}");
        }
        assert!(Kind::Unknown.advice().is_some());
    }
}
