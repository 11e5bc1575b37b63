//! The real program, on real pool files, for a tree of its own, against our side of the exchange.
//!
//! | file | what |
//! |---|---|
//! | `daemon` | what is between: `hv_kvp_daemon` as a model, after its source; and the real one, where it is installed |
//! | `kernel.c` | what the real one has in place of the kernel's device |
//! | `guest` | a tree, and the program run for it |
//! | `exchanges` | what has to come of it |
//! | `installed` | the program put into a tree |

#![cfg(unix)]

mod daemon;
mod exchanges;
mod guest;
mod installed;

/// Says why something is not tested. Where everything has to be tested, that is an error.
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "skipped where nothing may be: {why}"
    );
}
