//! A pool as it is written, as the store keeps it: numbers decided, secrets apart. Pure.

use labyard_labs::{
    claim::{lease::Limits, network::OfPool},
    pool::{Access, Isolation, OnDestroy, OnPause, Recycle, Spec, Strategy, Together},
    schedule::{AtEnd, Written},
};
use labyard_schema::{
    text::Span,
    vm_pool::{ClaimNetwork, LeaseLimits, Secrets, VmPool, Window},
};
use std::time::Duration;

/// What the store keeps of a pool: what anybody may see, and what is sealed.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// What it is asked to be.
    pub spec: Spec,
    /// The secrets of its template, as [`labyard_labs::pool::put`] takes them.
    pub secrets: Option<Vec<u8>>,
}

/// Of a pool whose values are all known.
///
/// # Errors
/// If its template cannot be written as JSON.
pub fn kept(pool: &VmPool) -> Result<Kept, serde_json::Error> {
    let secrets = pool.template.secrets();
    let spec = Spec {
        ready: pool.ready,
        max: pool.max,
        max_in_flight: pool.max_in_flight,
        strategy: match pool.strategy.as_str() {
            "on_demand" => Strategy::OnDemand,
            _ => Strategy::Warm,
        },
        recycle: match pool.recycle.as_str() {
            "recreate" => Recycle::Recreate,
            _ => Recycle::Reset,
        },
        isolation: match pool.isolated {
            true => Isolation::Apart,
            false => Isolation::Open,
        },
        access: match pool.access.as_str() {
            "claimer" => Access::Claimer,
            _ => Access::Open,
        },
        on_destroy: match pool.on_destroy.as_str() {
            "drain" => OnDestroy::Drain,
            "force" => OnDestroy::Force,
            _ => OnDestroy::Refuse,
        },
        on_pause: match pool.on_pause.as_str() {
            "leave" => OnPause::Leave,
            _ => OnPause::Suspend,
        },
        together: match pool.together {
            true => Together::OneHost,
            false => Together::Anywhere,
        },
        network: pool.claim_network.as_ref().and_then(of_claims),
        keep_failed: pool.keep_failed,
        lease: limits(pool.lease.as_ref()),
        template: serde_json::to_value(&pool.template)?,
        hosts: pool.hosts.as_ref().map(|hosts| hosts.iter().cloned().collect()),
        schedule: pool
            .schedule
            .iter()
            .flatten()
            .map(|(key, window)| (key.clone(), written(window)))
            .collect(),
    };
    let secrets = match secrets.is_empty() {
        true => None,
        false => Some(serde_json::to_vec(&secrets)?),
    };
    Ok(Kept { spec, secrets })
}

/// The schema's checks leave no network that cannot be read.
fn of_claims(network: &ClaimNetwork) -> Option<OfPool> {
    Some(OfPool {
        nic: network.nic.clone(),
        cidr: network.cidr.parse().ok()?,
    })
}

/// Secrets as [`kept`] has sealed them.
pub(crate) fn secrets(bytes: Option<&[u8]>) -> Result<Secrets, serde_json::Error> {
    bytes.map_or_else(|| Ok(Secrets::new()), serde_json::from_slice)
}

fn limits(lease: Option<&LeaseLimits>) -> Limits {
    let nothing = LeaseLimits::default();
    let lease = lease.unwrap_or(&nothing);
    let ms = |span: Option<&Span>| span.map(|span| millis(Span::or(Some(span), Duration::ZERO)));
    Limits {
        length_ms: millis(lease.length()),
        max_ms: millis(lease.longest()),
        idle_ms: ms(lease.idle.as_ref()),
        pause_ms: ms(lease.pause.as_ref()).unwrap_or_default(),
    }
}

fn written(window: &Window) -> Written {
    Written {
        timezone: window.timezone.clone(),
        days: window.days.clone().unwrap_or_default(),
        from: window.from.clone(),
        to: window.to.clone(),
        not_before: window.not_before.clone(),
        not_after: window.not_after.clone(),
        start: window.start.clone(),
        end: window.end.clone(),
        warm_up_ms: millis(Span::or(window.warm_up.as_ref(), Duration::ZERO)),
        at_end: match window.at_end.as_str() {
            "cut_off" => AtEnd::CutOff,
            _ => AtEnd::Soft,
        },
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_kept_with_its_secrets_apart() {
        let pool: VmPool = serde_json::from_str(
            r#"{"name": "k8s", "ready": 5, "max": 40, "max_in_flight": 4, "strategy": "on_demand", "recycle": "recreate",
                "on_destroy": "drain", "isolated": false, "access": "claimer", "together": true, "claim_network": {"nic": "lab", "cidr": "10.78.0.0/24"}, "on_pause": "leave", "keep_failed": 2, "hosts": ["b", "a"], "lease": {"default": "1h", "idle": "15m"},
                "schedule": {"exam": {"timezone": "UTC", "start": "2026-12-21T08:00", "end": "2026-12-21T12:00",
                                      "warm_up": "30m", "at_end": "cut_off"}},
                "template": {"memory_mib": 512, "cloud_init": {"user_data_wo": "hush"}}}"#,
        )
        .unwrap();
        let kept = kept(&pool).unwrap();
        let spec = &kept.spec;
        assert_eq!(
            (spec.strategy, spec.recycle, spec.on_destroy),
            (Strategy::OnDemand, Recycle::Recreate, OnDestroy::Drain)
        );
        assert_eq!((spec.isolation, spec.access), (Isolation::Open, Access::Claimer));
        assert_eq!(
            (spec.together, spec.on_pause, spec.keep_failed),
            (Together::OneHost, OnPause::Leave, 2)
        );
        let network = spec.network.as_ref().unwrap();
        assert_eq!(
            (network.nic.as_str(), network.cidr.to_string()),
            ("lab", "10.78.0.0/24".to_owned())
        );
        assert_eq!(spec.hosts.as_ref().unwrap().len(), 2);
        assert_eq!(
            spec.lease,
            Limits {
                length_ms: 3_600_000,
                max_ms: 28_800_000,
                idle_ms: Some(900_000),
                pause_ms: 0
            }
        );
        assert_eq!(
            (spec.schedule["exam"].warm_up_ms, spec.schedule["exam"].at_end),
            (1_800_000, AtEnd::CutOff)
        );
        // Invariant 21: what anybody may see holds no secret.
        assert!(!serde_json::to_string(spec).unwrap().contains("hush"));
        let secrets = secrets(kept.secrets.as_deref()).unwrap();
        assert_eq!(secrets["cloud_init.user_data_wo"], "hush");
    }
}
