//! Messages without secrets.

use labyard_exchange::Configuration;

/// The text with each secret of the configuration taken out, in case a program repeated its input.
pub(crate) fn redact(text: &str, configuration: &Configuration) -> String {
    let mut secrets: Vec<_> = configuration.secrets().map(|secret| secret.reveal()).collect();
    // The longest first: one may be part of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
        .into_iter()
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| text.replace(secret, "(secret)"))
}

/// A message for a pair: its begin and its end, where it is longer. Secrets are out of it by then.
pub(crate) fn shorten(text: &str) -> String {
    const HEAD: usize = 160;
    const TAIL: usize = 320;
    let all = text.chars().count();
    if all <= HEAD + TAIL {
        return text.to_owned();
    }
    let head: String = text.chars().take(HEAD).collect();
    let tail: String = text.chars().skip(all - TAIL).collect();
    format!("{head} … {tail}")
}

#[cfg(test)]
mod tests {
    use labyard_exchange::Secret;
    use labyard_exchange::config::User;

    use super::*;

    #[test]
    fn no_secret_stays_in_a_message_even_where_one_holds_another() {
        let mut configuration = Configuration::named("a");
        configuration.admin_password = Some(Secret::new("hunter"));
        let user = User {
            password: Some(Secret::new("hunter2")),
            ..User::default()
        };
        configuration.users.insert("b".into(), user);
        let text = redact("chpasswd: line 1: b:hunter2, line 2: hunter", &configuration);
        assert_eq!(text, "chpasswd: line 1: b:(secret), line 2: (secret)");
    }

    #[test]
    fn a_long_message_keeps_its_begin_and_its_end() {
        assert_eq!(shorten("short"), "short");
        let long = format!("begin{}end", "x".repeat(2000));
        let short = shorten(&long);
        assert!(
            short.starts_with("beginxxx") && short.ends_with("xxxend"),
            "{short}"
        );
        assert!(short.chars().count() < 500);
    }
}
