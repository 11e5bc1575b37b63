//! An access code as a user writes it down (`labyard_schema`), and as the store keeps it: one way and back.
//!
//! What a spelling means stands in [`Terms`]; the spelling itself, and where the code comes from, in [`Written`], so
//! that what is read back is what was written. Secrets stand in neither.
//!
//! ```
//! use labyard_labs::code::config::{Origin, asked};
//! let config = serde_json::from_str(r#"{"name": "class", "pools": {"k8s": {"count": 1}}, "batch": 30}"#).unwrap();
//! assert_eq!(asked(&config).unwrap().written.origin, Origin::Batch { count: 30 });
//! ```

use super::{
    CodeText, Terms,
    keep::{self, Kept, ONLY, Running, Values},
};
use crate::{
    Refusal,
    ids::{CodeName, Namespace, PoolName},
    maker::{self, Maker, Thing},
};
use labyard_schema::{
    Problem,
    access_code::{AccessCode, CodePool},
    problem::At,
    text::{Span, parse_duration, parse_moment},
};
use labyard_store::{
    StoreError, Write,
    event::{Event, Moment},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where the texts of a code come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It is made up.
    #[default]
    Generated,
    /// It is given.
    Given,
    /// It is given and shown to nobody.
    Secret {
        /// Which one.
        version: u64,
    },
    /// They are made up, each for one use.
    Batch {
        /// How many.
        count: u32,
    },
}

/// How a user wrote a code down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Where its texts come from.
    #[serde(default)]
    pub origin: Origin,
    /// `not_before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// `not_after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// `lease`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// `source_cidrs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_cidrs: Option<Vec<String>>,
    /// Whether claims end with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends_claims: bool,
}

/// What a user asks of a code.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What it grants.
    pub terms: Terms,
    /// Which values it has.
    pub values: Values,
    /// How it was written down.
    pub written: Written,
}

/// Which code is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// One that is not there yet.
    New,
    /// The same, by a maker who says when it is written down.
    Made(Maker),
    /// One that another maker left before it was written down, or none.
    Left {
        /// Who left it.
        by: Maker,
        /// Who makes it from now on.
        maker: Maker,
    },
    /// The one of this identity.
    There(String),
    /// Whichever has the name.
    Any,
}

impl Meant {
    /// Who makes what is meant.
    #[must_use]
    pub fn maker(&self) -> Option<&Maker> {
        match self {
            Self::Made(maker) | Self::Left { maker, .. } => Some(maker),
            Self::New | Self::There(_) | Self::Any => None,
        }
    }
}

/// What a configuration asks for.
///
/// # Errors
/// The first thing that cannot be, with its attribute.
pub fn asked(config: &AccessCode) -> Result<Asked, Problem> {
    if let Some(problem) = config.problems().into_iter().next() {
        return Err(problem);
    }
    let moment = |name, text: &Option<String>| at(name, text.as_deref().map(parse_moment));
    let sources = config.source_cidrs.iter().flatten().map(|text| text.parse());
    let sources: Result<Vec<_>, ipnet::AddrParseError> = sources.collect();
    let lease = at(
        "lease",
        config.lease.as_ref().map(|lease| parse_duration(&lease.0)),
    )?;
    let terms = Terms {
        pools: config
            .pools
            .iter()
            .map(|(name, pool)| (PoolName(name.clone()), pool.count.max(1)))
            .collect(),
        not_before: moment("not_before", &config.not_before)?.map(Moment),
        not_after: moment("not_after", &config.not_after)?.map(Moment),
        max_uses: config.max_uses.map(whole),
        max_uses_per_user: config.max_uses_per_user.map(whole),
        lease_ms: lease.map(|lease| i64::try_from(lease.as_millis()).unwrap_or(i64::MAX)),
        sources: sources.map_err(|error| unusable("source_cidrs", error.to_string()))?,
    };
    let text = |name, text: &str| CodeText::parse(text).map_err(|why| unusable(name, why));
    let (values, origin) = match (&config.code, &config.code_wo, config.batch) {
        (Some(code), _, _) => (Values::Given(text("code", code)?), Origin::Given),
        (None, Some(secret), _) => (
            Values::Given(text("code_wo", secret.reveal())?),
            Origin::Secret {
                version: config.code_wo_version.unwrap_or_default(),
            },
        ),
        (None, None, Some(count)) => (Values::Batch(count), Origin::Batch { count }),
        (None, None, None) => (Values::Generated, Origin::Generated),
    };
    let written = Written {
        origin,
        not_before: config.not_before.clone(),
        not_after: config.not_after.clone(),
        lease: config.lease.as_ref().map(|lease| lease.0.clone()),
        source_cidrs: config.source_cidrs.clone(),
        ends_claims: config.on_destroy == "end",
    };
    Ok(Asked {
        terms,
        values,
        written,
    })
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unusable(name: &'static str, detail: String) -> Problem {
    Problem::new(vec![At::Attribute(name)], "Unusable value", detail)
}

fn at<T>(name: &'static str, read: Option<Result<T, String>>) -> Result<Option<T>, Problem> {
    read.transpose().map_err(|detail| unusable(name, detail))
}

/// Makes a code, or changes the one that is meant, as a configuration asks.
///
/// # Errors
/// If it cannot be, another code has the name or the text, or the store fails.
pub fn put(
    write: &mut Write<'_>,
    namespace: &Namespace,
    config: &AccessCode,
    meant: &Meant,
    now: Moment,
    actor: &str,
) -> Result<Kept, Refusal> {
    let asked = asked(config).map_err(Refusal::Unusable)?;
    let name = CodeName(config.name.clone());
    let before = match keep::find(write, namespace, &name) {
        Ok(kept) => Some(kept),
        Err(Refusal::NoCode { .. }) => None,
        Err(other) => return Err(other),
    };
    match (meant, &before) {
        (Meant::New | Meant::Made(_), Some(_)) => return Err(Refusal::CodeExists { name }),
        (Meant::Left { by, .. }, Some(kept)) if kept.maker.as_ref() != Some(by) => {
            return Err(Refusal::CodeExists { name });
        }
        (Meant::There(_), None) => return Err(Refusal::NoCode { name }),
        (Meant::There(id), Some(kept)) if kept.id != *id => return Err(Refusal::CodeReplaced { name }),
        _ => {}
    }
    let before = match (meant, before) {
        (Meant::Left { .. }, Some(kept)) => Some(taken_over(write, namespace, kept, (now, actor))?),
        (_, before) => before,
    };
    let values = match &before {
        Some(kept) => kept_values(write, kept, &asked, now)?,
        None => asked.values,
    };
    keep::put(write, namespace, &name, &asked.terms, &values, now, actor)?;
    let thing = Thing::Code(name.clone());
    maker::set(write, namespace, &thing, meant.maker(), (now, actor))?;
    let kept = keep::find(write, namespace, &name)?;
    keep::put_written(write, &kept.id, &asked.written)?;
    Ok(Kept {
        written: asked.written,
        ..kept
    })
}

/// What a maker left, as another's from now on. Nobody wrote down which secret it has: its version says nothing of it.
fn taken_over(
    write: &mut Write<'_>,
    namespace: &Namespace,
    kept: Kept,
    (now, actor): (Moment, &str),
) -> Result<Kept, StoreError> {
    let id = keep::identified_anew(write, &kept.id)?;
    let subject = format!("code/{}", kept.name);
    let event = Event::new(now, namespace.as_str(), actor, "code.taken_over", &subject);
    write.event(&event)?;
    let origin = match kept.written.origin {
        Origin::Secret { .. } => Origin::Given,
        other => other,
    };
    Ok(Kept {
        id,
        written: Written {
            origin,
            ..kept.written
        },
        ..kept
    })
}

/// The values that a code is to have, looking at those that it has: a secret of the same version stays, and a text
/// that was given is none that was made up.
fn kept_values(write: &mut Write<'_>, kept: &Kept, asked: &Asked, now: Moment) -> Result<Values, Refusal> {
    let only = kept.values.get(ONLY).and_then(|value| value.text.clone());
    match (kept.written.origin, asked.written.origin, only) {
        (Origin::Secret { version: before }, Origin::Secret { version: now }, Some(text))
            if before == now =>
        {
            Ok(Values::Given(text))
        }
        (Origin::Given | Origin::Secret { .. }, Origin::Generated, Some(_)) => {
            keep::drop_value(write, &kept.id, ONLY, now)?;
            Ok(Values::Generated)
        }
        _ => Ok(asked.values.clone()),
    }
}

/// Takes a code away; what that means for its claims it says itself.
///
/// # Errors
/// If there is none of that identity, or the store fails.
pub fn remove(
    write: &mut Write<'_>,
    namespace: &Namespace,
    name: &CodeName,
    id: &str,
    now: Moment,
    actor: &str,
) -> Result<(), Refusal> {
    let kept = keep::find(write, namespace, name)?;
    if kept.id != id {
        return Err(Refusal::CodeReplaced { name: name.clone() });
    }
    let running = match kept.written.ends_claims {
        true => Running::End,
        false => Running::GoOn,
    };
    keep::remove(write, namespace, name, running, now, actor)
}

/// A code as it is, in the words of who wrote it where they still mean it: those of `prior`, else those it was made
/// with. Secrets are not in it.
#[must_use]
pub fn as_config(kept: &Kept, prior: Option<&AccessCode>) -> AccessCode {
    let (terms, written) = (&kept.terms, &kept.written);
    let prior = prior.cloned().unwrap_or_default();
    let texts = kept.texts();
    let only = texts.get(ONLY);
    let spelled = |candidates: [&Option<String>; 2], now: Option<Moment>| {
        let means = |text: &&String| parse_moment(text).ok().map(Moment) == now;
        let found = candidates.into_iter().flatten().find(means).cloned();
        now.map(|now| found.unwrap_or_else(|| crate::refusal::shown(now)))
    };
    let pools = terms
        .pools
        .iter()
        .map(|(name, count)| (name.to_string(), CodePool { count: *count }));
    AccessCode {
        name: kept.name.to_string(),
        pools: pools.collect(),
        max_uses: terms.max_uses.and_then(|most| most.try_into().ok()),
        max_uses_per_user: terms.max_uses_per_user.and_then(|most| most.try_into().ok()),
        not_before: spelled([&prior.not_before, &written.not_before], terms.not_before),
        not_after: spelled([&prior.not_after, &written.not_after], terms.not_after),
        lease: lease(&prior, written, terms.lease_ms),
        source_cidrs: sources(&prior, written, terms),
        code: match written.origin {
            Origin::Given => only.map(|text| as_given(text, prior.code.as_deref())),
            _ => None,
        },
        code_wo: None,
        code_wo_version: match written.origin {
            // Once it is revoked the version would say that the code is there.
            Origin::Secret { version } => {
                let only = kept.values.get(ONLY).filter(|value| !value.is_revoked());
                only.map(|_| version)
            }
            _ => None,
        },
        batch: match written.origin {
            Origin::Batch { count } => Some(count),
            _ => None,
        },
        on_destroy: if written.ends_claims { "end" } else { "keep" }.to_owned(),
        id: Some(kept.id.clone()),
        codes: Some(match written.origin {
            Origin::Secret { .. } => BTreeMap::new(),
            _ => texts
                .iter()
                .map(|(label, text)| (label.clone(), text.to_string()))
                .collect(),
        }),
    }
}

fn as_given(text: &CodeText, prior: Option<&str>) -> String {
    let same = |prior: &&str| CodeText::parse(prior).is_ok_and(|prior| prior == *text);
    prior.filter(same).map_or_else(|| text.to_string(), str::to_owned)
}

fn lease(prior: &AccessCode, written: &Written, now: Option<i64>) -> Option<Span> {
    let now = now?;
    let means =
        |text: &&String| parse_duration(text).is_ok_and(|lease| i64::try_from(lease.as_millis()) == Ok(now));
    let before = prior.lease.as_ref().map(|lease| &lease.0);
    let found = before.into_iter().chain(&written.lease).find(means).cloned();
    Some(Span(found.unwrap_or_else(|| match now % 1000 {
        0 => format!("{}s", now / 1000),
        _ => format!("{now}ms"),
    })))
}

fn sources(prior: &AccessCode, written: &Written, terms: &Terms) -> Option<Vec<String>> {
    let means = |texts: &&Vec<String>| {
        let read: Result<Vec<ipnet::IpNet>, _> = texts.iter().map(|text| text.parse()).collect();
        read.is_ok_and(|read| read == terms.sources)
    };
    let found = prior.source_cidrs.iter().chain(&written.source_cidrs).find(means);
    match found {
        Some(texts) => Some(texts.clone()),
        None if terms.sources.is_empty() => None,
        None => Some(terms.sources.iter().map(ToString::to_string).collect()),
    }
}
