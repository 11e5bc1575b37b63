//! Patterns of host names, as `ssh_config` and `known_hosts` have them: `*`, `?`, and `!` for "not".

/// Whether a text fits a pattern with `*` and `?`; case does not count.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    matches(pattern.as_bytes(), text.as_bytes())
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut pos) = (0, 0);
    // Where to go on should what follows the last star not fit.
    let mut star: Option<(usize, usize)> = None;
    while pos < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, pos));
                at += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == text[pos] => {
                at += 1;
                pos += 1;
            }
            _ => match star {
                Some((back, from)) => {
                    at = back + 1;
                    pos = from + 1;
                    star = Some((back, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&rest| rest == b'*')
}

/// Whether a text fits any of the patterns and none of those behind a `!`.
pub(crate) fn fits_any<'p>(patterns: impl IntoIterator<Item = &'p str>, text: &str) -> bool {
    let mut fitting = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(not) if fits(not, text) => return false,
            Some(_) => {}
            None => fitting |= fits(pattern, text),
        }
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_text() {
        for (pattern, text, fit) in [
            ("*", "", true),
            ("lab", "LAB", true),
            ("lab*", "lab1", true),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("lab?", "lab", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, text), fit, "{pattern} {text}");
        }
    }

    #[test]
    fn one_pattern_that_excludes_is_enough() {
        assert!(fits_any(["lab*", "!lab9"], "lab1"));
        assert!(!fits_any(["lab*", "!lab9"], "lab9"));
        assert!(!fits_any(["!lab9"], "lab1"), "only exclusions fit nothing");
    }
}
