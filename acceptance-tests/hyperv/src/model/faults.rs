//! Failures on demand: the n-th call of a method from now on fails, in one of the ways in which methods and jobs do.

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It answers with this code and has done nothing.
    Return(u32),
    /// It answers with this fault of WMI and has done nothing.
    Fault(u32),
    /// Its job ends in state 10 with this ErrorCode; nothing was done.
    Job(u32),
    /// Its job ends in state 10 with this ErrorCode, after all was done.
    JobAfterWork(u32),
    /// Its job ends in state 7, and ErrorCode is this all the same; nothing was done.
    CompletedWithError(u32),
    /// Its job ends in state 7 without an error; nothing was done.
    CompletedAndNothing,
    /// All is done, and the job's row is gone before anyone has read its end.
    Vanishes,
}

/// What waits for its call.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    waiting: Vec<(String, usize, How)>,
    current: Option<How>,
}

impl Faults {
    /// The `nth` call of a method from now on, counted from 1, fails so.
    pub(crate) fn add(&mut self, method: &str, nth: usize, how: How) {
        self.waiting.push((method.to_owned(), nth.max(1), how));
    }

    /// A method is called: counts it, and keeps in mind how it is to fail.
    pub(crate) fn called(&mut self, method: &str) -> Option<How> {
        self.current = None;
        for (_, left, how) in self
            .waiting
            .iter_mut()
            .filter(|(of, ..)| of.eq_ignore_ascii_case(method))
        {
            *left -= 1;
            if *left == 0 && self.current.is_none() {
                self.current = Some(*how);
            }
        }
        self.waiting.retain(|(_, left, _)| *left > 0);
        self.current
    }

    /// How the job of this call is to fail.
    pub(crate) fn of_job(&mut self) -> Option<How> {
        self.current.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_call_of_a_method_fails_and_no_other() {
        let mut faults = Faults::default();
        faults.add("AddResourceSettings", 2, How::Job(32768));
        assert_eq!(faults.called("AddResourceSettings"), None);
        assert_eq!(faults.called("DefineSystem"), None);
        assert_eq!(faults.called("addresourcesettings"), Some(How::Job(32768)));
        assert_eq!(faults.called("AddResourceSettings"), None);
    }
}
