//! Since when a request may be told what was seen of hosts: what was done before it began, by whomever, it is told of. Who
//! asks many things in one run says how old the run is ([`SEEN_WITHIN_MS`]), and its requests share what is read meanwhile.

use super::handlers::taken::invalid;
use crate::failure::Failure;
use http::HeaderMap;
use labyard_api::host::SEEN_WITHIN_MS;
use std::time::Duration;
use tokio::time::Instant;

tokio::task_local! {
    static SINCE: Instant;
}

/// What a request says.
pub(crate) fn read(headers: &HeaderMap, now: Instant) -> Result<Instant, Failure> {
    let Some(value) = headers.get(SEEN_WITHIN_MS) else {
        return Ok(now);
    };
    let within: Option<u64> = value.to_str().ok().and_then(|text| text.parse().ok());
    match within {
        // A clock that does not reach back so far began later than anything was seen.
        Some(within) => Ok(now.checked_sub(Duration::from_millis(within)).unwrap_or(now)),
        None => Err(invalid()
            .wrong(SEEN_WITHIN_MS, "a number of milliseconds belongs here")
            .into()),
    }
}

/// Does what a request asks for, with that said.
pub(crate) async fn within<T>(since: Instant, work: impl Future<Output = T>) -> T {
    SINCE.scope(since, work).await
}

/// Since when the request that is served now may be told; outside of requests nothing old is.
pub(crate) fn since() -> Instant {
    SINCE.try_with(|since| *since).unwrap_or_else(|_| Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_says_how_old_it_is_and_nothing_else_is_taken() {
        let now = Instant::now();
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(SEEN_WITHIN_MS, text.parse().unwrap());
            read(&headers, now)
        };
        assert_eq!(read(&HeaderMap::new(), now).unwrap(), now);
        assert_eq!(of("250").unwrap(), now - Duration::from_millis(250));
        assert!(
            of(&"9".repeat(19)).unwrap() <= now,
            "long before anything was seen"
        );
        for bad in ["", "-1", "1s"] {
            let refused = of(bad).unwrap_err();
            assert_eq!(refused.0.errors[0].at, SEEN_WITHIN_MS, "{bad}");
        }
    }

    #[tokio::test]
    async fn outside_of_a_request_nothing_old_is_told() {
        let before = Instant::now();
        assert!(since() >= before);
        let told = before - Duration::from_secs(1);
        assert_eq!(within(told, async { since() }).await, told);
    }
}
