//! What a stage usually takes: the median of past runs, of the same image and clone mode where there are such. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::{Class, Entry, What};

/// How many of the latest runs count: a host that became faster is believed soon.
const LATEST: usize = 25;

/// Times of past runs.
#[derive(Debug, Default)]
pub struct History {
    by_class: HashMap<(String, Class), VecDeque<u64>>,
    by_stage: HashMap<String, VecDeque<u64>>,
}

impl History {
    /// Of lines in their order.
    pub fn of(entries: &[Entry]) -> Self {
        let mut history = Self::default();
        for entry in entries {
            history.learn(entry);
        }
        history
    }

    /// Takes one more line into account.
    pub fn learn(&mut self, entry: &Entry) {
        let (What::Done, Some(took)) = (entry.what, entry.took_ms) else {
            return;
        };
        // An update goes through the same stages and finds most of them done.
        if entry.event == "update" {
            return;
        }
        let class = (entry.stage.clone(), entry.class.clone());
        push(self.by_class.entry(class).or_default(), took);
        push(self.by_stage.entry(entry.stage.clone()).or_default(), took);
    }

    /// What a stage usually takes.
    pub fn usual(&self, stage: &str, class: &Class) -> Option<Duration> {
        let of_class = self.by_class.get(&(stage.to_owned(), class.clone()));
        let times = of_class.or_else(|| self.by_stage.get(stage))?;
        median(times).map(Duration::from_millis)
    }
}

fn push(times: &mut VecDeque<u64>, took: u64) {
    if times.len() == LATEST {
        times.pop_front();
    }
    times.push_back(took);
}

fn median(times: &VecDeque<u64>) -> Option<u64> {
    let mut sorted: Vec<_> = times.iter().copied().collect();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(u64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// Where a stage stands, for people: `stage ready, attempt 1, 12s of usually 8s`.
pub fn standing(stage: &str, attempt: u32, elapsed: Duration, usual: Option<Duration>) -> String {
    let usual = usual.map_or(String::new(), |usual| format!(" of usually {}", short(usual)));
    format!("stage {stage}, attempt {attempt}, {}{usual}", short(elapsed))
}

/// A time as people say it.
pub fn short(time: Duration) -> String {
    match time.as_secs() {
        0 if time.is_zero() => "0s".to_owned(),
        0..10 => format!("{:.1}s", time.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds}s"),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(stage: &str, times: &[u64]) -> Vec<Entry> {
        let done = |took: &u64| Entry::sample(stage, What::Done, Some(*took));
        times.iter().map(done).collect()
    }

    #[test]
    fn usual_is_the_median_so_that_one_bad_day_does_not_count() {
        let history = History::of(&took("ready", &[8_000, 9_000, 600_000]));
        assert_eq!(
            history.usual("ready", &Class::default()),
            Some(Duration::from_secs(9))
        );
        let even = History::of(&took("ready", &[2_000, 4_000]));
        assert_eq!(
            even.usual("ready", &Class::default()),
            Some(Duration::from_secs(3))
        );
        assert_eq!(history.usual("disks", &Class::default()), None);
    }

    #[test]
    fn the_same_image_and_clone_mode_count_first_and_else_the_stage() {
        let full = Class {
            clone: Some("full".into()),
            image: Some("i".into()),
        };
        let mut entries = took("disks", &[1_000, 1_000, 1_000]);
        entries.push(Entry {
            class: full.clone(),
            ..Entry::sample("disks", What::Done, Some(60_000))
        });
        let history = History::of(&entries);
        assert_eq!(history.usual("disks", &full), Some(Duration::from_secs(60)));
        let other = Class {
            clone: Some("linked".into()),
            image: Some("other".into()),
        };
        assert_eq!(history.usual("disks", &other), Some(Duration::from_secs(1)));
    }

    #[test]
    fn failures_updates_and_old_runs_do_not_count() {
        let mut entries = took("disks", &[9_000; 100]);
        entries.extend(took("disks", &[1_000; LATEST]));
        entries.push(Entry::sample("disks", What::Failed, Some(1)));
        entries.push(Entry {
            event: "update".into(),
            ..Entry::sample("disks", What::Done, Some(1))
        });
        let history = History::of(&entries);
        assert_eq!(
            history.usual("disks", &Class::default()),
            Some(Duration::from_secs(1))
        );
    }

    #[test]
    fn a_standing_says_stage_attempt_time_and_what_is_usual() {
        let (elapsed, usual) = (Duration::from_secs(12), Duration::from_secs(8));
        assert_eq!(
            standing("ready", 1, elapsed, Some(usual)),
            "stage ready, attempt 1, 12s of usually 8.0s"
        );
        assert_eq!(standing("seed", 2, elapsed, None), "stage seed, attempt 2, 12s");
        assert_eq!(short(Duration::from_secs(125)), "2m05s");
        assert_eq!(short(Duration::ZERO), "0s");
    }
}
