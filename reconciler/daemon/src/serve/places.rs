//! How many connections one address has at the same time: who opens all that there are leaves none for others.
//!
//! ```text
//! most 2:   a a │ a refused      b b │ …      a leaves │ a
//! ```

use super::limit::Source;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The connections that there are, by where they come from.
#[derive(Clone)]
pub(crate) struct Places {
    most: usize,
    taken: Arc<Mutex<HashMap<Source, usize>>>,
}

/// One of them; it is free again when this goes.
pub(crate) struct Place {
    of: Places,
    source: Source,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    /// One more for that source, if it may have one.
    pub(crate) fn take(&self, source: Source) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(source).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place {
            of: self.clone(),
            source,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = taken.get_mut(&self.source) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            taken.remove(&self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn an_address_has_so_many_and_others_have_theirs() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        let (one, other) = (source("192.0.2.1"), source("192.0.2.2"));
        let places = Places::new(2);
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert!(places.take(one).is_none());
        let theirs = places.take(other).unwrap();
        drop(first);
        assert!(places.take(one).is_some());
        drop(theirs);
        assert_eq!(places.taken.lock().unwrap().len(), 1, "who has none is forgotten");
    }
}
