//! Failures are limited, not attempts: each wrong code, token or secret costs its source, and its code, one of so many;
//! they come back with time. What succeeds costs nothing, so a class behind one address redeems at once. While a source
//! has failures, few of its attempts are decided at the same time. However much fails, the next attempt is never further away
//! than one refill: nobody locks the others behind an address out for long.
//!
//! ```text
//! burst 3, refill 10 s:   fail fail fail │ refused for 10 s │ one more │ refused …
//! ```

use labyard_store::event::Moment;
use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Sources and codes that are remembered, each.
const MOST: usize = 65_536;
/// Attempts of one source that are decided at the same time.
const ABREAST: usize = 8;

/// Where attempts come from: an IPv4 address, or the network of an IPv6 address, since one person has all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => v4.into(),
                None => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
            },
        })
    }
}

/// How many failures at once, and after how long there is one more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) burst: u32,
    pub(crate) refill: Duration,
}

/// What is left of an allowance, as the moment at which all of it is there again.
#[derive(Clone, Copy, Debug)]
struct Debt {
    whole_at: i64,
}

impl Allowance {
    fn refill_ms(self) -> i64 {
        i64::try_from(self.refill.as_millis()).unwrap_or(i64::MAX).max(1)
    }

    /// How long until there is one more, if there is none.
    fn wait(self, debt: Debt, now: Moment) -> Option<Duration> {
        let owed = debt.whole_at.saturating_sub(now.0);
        let most = self.refill_ms().saturating_mul(i64::from(self.burst.max(1)) - 1);
        let over = owed.saturating_sub(most);
        (over > 0).then(|| Duration::from_millis(over.unsigned_abs()))
    }

    fn failed(self, debt: &mut Debt, now: Moment) {
        let most = self.refill_ms().saturating_mul(i64::from(self.burst.max(1)));
        let owed = debt.whole_at.max(now.0).saturating_add(self.refill_ms());
        debt.whole_at = owed.min(now.0.saturating_add(most));
    }
}

/// Remembers failures.
pub(crate) struct Limiter {
    of_source: Allowance,
    of_code: Allowance,
    sources: Mutex<HashMap<Source, (Debt, Arc<Semaphore>)>>,
    codes: Mutex<HashMap<Vec<u8>, Debt>>,
}

impl Limiter {
    pub(crate) fn new(of_source: Allowance, of_code: Allowance) -> Self {
        Self {
            of_source,
            of_code,
            sources: Mutex::default(),
            codes: Mutex::default(),
        }
    }

    /// Waits for this source's turn.
    pub(crate) async fn turn(&self, source: Source) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            sources.get(&source).map(|(_, turns)| Arc::clone(turns))?
        };
        turns.acquire_owned().await.ok()
    }

    /// How long a source has to wait, if it has to.
    pub(crate) fn wait_of_source(&self, source: Source, now: Moment) -> Option<Duration> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources
            .get(&source)
            .and_then(|(debt, _)| self.of_source.wait(*debt, now))
    }

    /// How long a code has to wait, if it has to.
    pub(crate) fn wait_of_code(&self, code: &[u8], now: Moment) -> Option<Duration> {
        let codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.get(code).and_then(|debt| self.of_code.wait(*debt, now))
    }

    /// An attempt of a source failed.
    pub(crate) fn source_failed(&self, source: Source, now: Moment) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        forget(&mut sources, |(debt, _)| *debt, now);
        let entry = sources
            .entry(source)
            .or_insert_with(|| (Debt { whole_at: now.0 }, Arc::new(Semaphore::new(ABREAST))));
        self.of_source.failed(&mut entry.0, now);
    }

    /// An attempt with a code failed.
    pub(crate) fn code_failed(&self, code: Vec<u8>, now: Moment) {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        forget(&mut codes, |debt| *debt, now);
        let debt = codes.entry(code).or_insert(Debt { whole_at: now.0 });
        self.of_code.failed(debt, now);
    }
}

/// Where too many are remembered, those that owe nothing go, and if that is not enough those that owe least.
fn forget<K: Hash + Eq + Clone, V>(all: &mut HashMap<K, V>, debt: impl Fn(&V) -> Debt, now: Moment) {
    if all.len() < MOST {
        return;
    }
    all.retain(|_, value| debt(value).whole_at > now.0);
    if all.len() < MOST {
        return;
    }
    let mut debts: Vec<i64> = all.values().map(|value| debt(value).whole_at).collect();
    debts.sort_unstable();
    let middle = debts[debts.len() / 2];
    all.retain(|_, value| debt(value).whole_at > middle);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter() -> Limiter {
        let allowance = |burst| Allowance {
            burst,
            refill: Duration::from_secs(10),
        };
        Limiter::new(allowance(3), allowance(2))
    }

    fn source(text: &str) -> Source {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_source_has_so_many_failures_and_one_more_each_time_the_refill_has_passed() {
        let (limiter, one) = (limiter(), source("192.0.2.1"));
        for _ in 0..3 {
            assert_eq!(limiter.wait_of_source(one, Moment(0)), None);
            limiter.source_failed(one, Moment(0));
        }
        assert_eq!(
            limiter.wait_of_source(one, Moment(0)),
            Some(Duration::from_secs(10))
        );
        assert_eq!(
            limiter.wait_of_source(one, Moment(9_999)),
            Some(Duration::from_millis(1))
        );
        assert_eq!(limiter.wait_of_source(one, Moment(10_000)), None);
        limiter.source_failed(one, Moment(10_000));
        assert!(limiter.wait_of_source(one, Moment(10_001)).is_some());
        assert_eq!(limiter.wait_of_source(source("192.0.2.2"), Moment(0)), None);
    }

    #[test]
    fn however_often_a_source_fails_it_has_one_more_after_the_refill() {
        let (limiter, one) = (limiter(), source("192.0.2.1"));
        for _ in 0..1_000 {
            limiter.source_failed(one, Moment(0));
            limiter.code_failed(vec![1], Moment(0));
        }
        let refill = Some(Duration::from_secs(10));
        assert_eq!(limiter.wait_of_source(one, Moment(0)), refill);
        assert_eq!(limiter.wait_of_code(&[1], Moment(0)), refill);
        assert_eq!(limiter.wait_of_source(one, Moment(10_000)), None);
    }

    #[test]
    fn a_code_is_slowed_wherever_the_attempts_come_from() {
        let limiter = limiter();
        limiter.code_failed(vec![1], Moment(0));
        limiter.code_failed(vec![1], Moment(0));
        assert!(limiter.wait_of_code(&[1], Moment(0)).is_some());
        assert_eq!(limiter.wait_of_code(&[2], Moment(0)), None);
    }

    #[test]
    fn addresses_of_one_network_are_one_source() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::2:3"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let limiter = limiter();
        for number in 0..(MOST as u32 + 100) {
            limiter.code_failed(number.to_be_bytes().to_vec(), Moment(i64::from(number)));
        }
        assert!(limiter.codes.lock().unwrap().len() <= MOST);
    }
}
