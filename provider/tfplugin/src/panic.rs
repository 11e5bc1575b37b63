//! Panics: told to Terraform as it expects of a plugin, and caught so that they end one operation and no more.

use std::any::Any;
use std::backtrace::BacktraceStatus;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo};

use futures::FutureExt as _;

thread_local! {
    /// Where this thread panicked last: the payload that unwinding carries does not say.
    static LAST_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panicked {
    /// What it said.
    pub(crate) message: String,
    /// File and line, where known.
    pub(crate) place: Option<String>,
}

/// Prints every panic in the form that Terraform takes for a plugin's stack trace.
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let place = info.location().map(ToString::to_string);
        let backtrace = std::backtrace::Backtrace::capture();
        let frames = match backtrace.status() {
            BacktraceStatus::Captured => backtrace.to_string(),
            _ => String::new(),
        };
        crate::log::raw_line(&report(&message_of(info.payload()), place.as_deref(), &frames));
        LAST_PLACE.with(|last| *last.borrow_mut() = place);
    }));
}

/// Runs `future`, and if it panics says how.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, Panicked> {
    AssertUnwindSafe(future)
        .catch_unwind()
        .await
        .map_err(|payload| Panicked {
            message: message_of(payload.as_ref()),
            place: LAST_PLACE.with(|last| last.borrow_mut().take()),
        })
}

fn report(message: &str, place: Option<&str>, backtrace: &str) -> String {
    format!(
        "panic: {message}\n\nat {}\n{backtrace}\n",
        place.unwrap_or("an unknown place")
    )
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_caught_with_its_message() {
        let panicked = caught(async { panic!("no disk {}", 7) })
            .await
            .expect_err("it panicked");
        assert_eq!(panicked.message, "no disk 7");
    }

    #[tokio::test]
    async fn a_future_that_does_not_panic_is_let_through() {
        assert_eq!(caught(async { 5 }).await, Ok(5));
    }

    #[test]
    fn the_report_begins_as_terraform_looks_for_it() {
        assert!(report("no disk", Some("vm.rs:3:1"), "").starts_with("panic: no disk\n"));
    }
}
