//! Rules between the attributes of a code.

use super::AccessCode;
use crate::check;
use crate::problem::{At, Problem};
use crate::text::{Span, parse_moment};
use std::time::Duration;

impl AccessCode {
    /// Rules between attributes; single values are checked by their table.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.pool_problems();
        problems.extend(self.several_codes());
        problems.extend(self.secret_problem());
        problems.extend(self.limit_problems());
        problems.extend(self.ends_before_it_begins());
        let instant = Span::or(self.lease.as_ref(), Duration::from_secs(1)).is_zero();
        problems.extend(instant.then(|| {
            let detail = "A lease of no time would end before anybody had it: give one like 2h.";
            Problem::new(vec![At::Attribute("lease")], "Lease of no time", detail)
        }));
        problems
    }

    fn pool_problems(&self) -> Vec<Problem> {
        if self.pools.is_empty() {
            let detail = "A code grants machines of at least one pool: pools = { NAME = { count = 1 } }.";
            let at = vec![At::Attribute("pools")];
            return vec![Problem::new(at, "Code for nothing", detail)];
        }
        let bad = |pool: &String| {
            let at = vec![At::Attribute("pools"), At::Key(pool.clone())];
            Some(Problem::new(at, "Bad pool name", check::object_name(pool).err()?))
        };
        self.pools.keys().filter_map(bad).collect()
    }

    /// Where the code comes from is said once.
    fn several_codes(&self) -> Option<Problem> {
        let said: Vec<&'static str> = [
            ("code", self.code.is_some()),
            ("code_wo", self.code_wo.is_some()),
            ("batch", self.batch.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect();
        let last = *said.get(1..)?.last()?;
        let detail = format!("{} are set: keep one of them.", said.join(" and "));
        Some(Problem::new(
            vec![At::Attribute(last)],
            "Several codes in one",
            detail,
        ))
    }

    fn secret_problem(&self) -> Option<Problem> {
        let Some(secret) = &self.code_wo else {
            return self.code_wo_version.is_some().then(|| {
                let detail = "code_wo_version is the version of code_wo, which is not set: give code_wo too, or leave both out.";
                let at = vec![At::Attribute("code_wo_version")];
                Problem::new(at, "Version of nothing", detail)
            });
        };
        if let Err(detail) = check::code_text(secret.reveal()) {
            return Some(Problem::new(
                vec![At::Attribute("code_wo")],
                "Invalid code_wo",
                detail,
            ));
        }
        self.code_wo_version.is_none().then(|| {
            let detail = "Terraform does not store code_wo, so only code_wo_version tells when it changed: set it to 1, and raise it with every change.";
            Problem::new(vec![At::Attribute("code_wo_version")], "Missing version", detail)
        })
    }

    fn limit_problems(&self) -> Option<Problem> {
        let most = self.max_uses?;
        if self.batch.is_some() {
            let detail =
                "Each code of a batch is for one use: leave max_uses out, and give as many codes as uses.";
            let at = vec![At::Attribute("max_uses")];
            return Some(Problem::new(at, "Limit without effect", detail));
        }
        let by_user = self.max_uses_per_user.filter(|by_user| *by_user > most)?;
        let detail = format!(
            "One user may use it {by_user} times, and all together {most} times: lower max_uses_per_user or raise max_uses."
        );
        let at = vec![At::Attribute("max_uses_per_user")];
        Some(Problem::new(at, "Limit without effect", detail))
    }

    fn ends_before_it_begins(&self) -> Option<Problem> {
        let moment = |text: &Option<String>| parse_moment(text.as_deref()?).ok();
        let (from, until) = (moment(&self.not_before)?, moment(&self.not_after)?);
        (until <= from).then(|| {
            let detail = "not_after is not later than not_before: the code could never be used.";
            Problem::new(
                vec![At::Attribute("not_after")],
                "Code that is never valid",
                detail,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let code: AccessCode = serde_json::from_str(text).unwrap();
        code.problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_cannot_be_is_refused_at_its_attribute() {
        for (text, at) in [
            (r#"{"name": "a", "pools": {}}"#, "pools: A code grants"),
            (
                r#"{"name": "a", "pools": {"a b": {"count": 1}}}"#,
                "pools[\"a b\"]",
            ),
            (
                r#"{"name": "a", "pools": {"p": {}}, "code": "ROBOTICS", "batch": 3}"#,
                "batch: code and batch are set",
            ),
            (
                r#"{"name": "a", "pools": {"p": {}}, "code": "ROBOTICS", "code_wo": "ROBOTICS", "code_wo_version": 1}"#,
                "code_wo: code and code_wo are set",
            ),
            (
                r#"{"name": "a", "pools": {"p": {}}, "code_wo": "ROBOTICS"}"#,
                "code_wo_version: Terraform does not store",
            ),
            (
                r#"{"name": "a", "pools": {"p": {}}, "code_wo": "R2", "code_wo_version": 1}"#,
                "code_wo: A code has 6 to 128",
            ),
            (
                r#"{"name": "a", "pools": {"p": {}}, "batch": 3, "max_uses": 3}"#,
                "max_uses: Each code of a batch",
            ),
            (
                r#"{"name": "a", "pools": {"p": {}}, "max_uses": 3, "max_uses_per_user": 4}"#,
                "max_uses_per_user: One user",
            ),
            (
                r#"{"name": "a", "pools": {"p": {}}, "not_before": "2026-09-01T10:00:00+02:00", "not_after": "2026-09-01T08:00:00Z"}"#,
                "not_after: not_after is not later",
            ),
            (
                r#"{"name": "a", "pools": {"p": {}}, "code_wo_version": 1}"#,
                "code_wo_version: code_wo_version is the version",
            ),
            (
                r#"{"name": "a", "pools": {"p": {}}, "lease": "0s"}"#,
                "lease: A lease of no time",
            ),
        ] {
            let said = said(text);
            assert!(said.len() == 1 && said[0].contains(at), "{text}: {said:#?}");
            assert!(!said[0].contains("ROBOTICS"), "{said:?}");
        }
    }

    #[test]
    fn a_code_as_the_documents_show_it_is_right() {
        for text in [
            r#"{"name": "class", "pools": {"k8s": {"count": 1}}, "max_uses": 30, "max_uses_per_user": 1, "lease": "2h",
                "not_before": "2026-09-01T08:00:00+02:00", "not_after": "2026-12-20T12:00:00Z", "source_cidrs": ["10.0.0.0/8"]}"#,
            r#"{"name": "class", "pools": {"k8s": {"count": 1}}, "batch": 30, "max_uses_per_user": 1}"#,
        ] {
            assert_eq!(said(text), [""; 0]);
        }
    }
}
