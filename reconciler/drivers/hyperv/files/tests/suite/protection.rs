//! Nobody on the way can take protection away, and nobody is spoken with who does not protect.

use std::sync::{Arc, Mutex};

use labyard_files::{Encryption, HostFiles, SmbFiles, Trouble, Why};

use crate::machine::{at, root};
use crate::proxy::{CREATE, Fate, NEGOTIATE, Proxy, Rule, SESSION_SETUP, Way, command};
use crate::samba::Samba;

const CLEAR: &str = "server smb encrypt = off\nserver signing = mandatory";

async fn trouble(samba: &Samba, rule: Rule) -> Trouble {
    let proxy = Proxy::start(samba.port, rule).await;
    let files = SmbFiles::new(samba.through(proxy.port), &root()).unwrap();
    match files.stat(&at("secret")).await.unwrap_err().why {
        Why::NotSent(trouble) => trouble,
        other => panic!("{other}"),
    }
}

/// Changes each answer to a command.
fn changing(wanted: u16, change: impl Fn(&mut Vec<u8>) + Send + 'static) -> Rule {
    Box::new(move |way, message| {
        if way == Way::Back && command(message) == Some(wanted) {
            change(message);
        }
        Fate::Pass
    })
}

fn is_tampered(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Tampered { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_its_signature_is_refused() {
    let Some(samba) = Samba::start(CLEAR) else { return };
    let stripped = changing(CREATE, |message| {
        message[16] &= !8;
        message[48..64].fill(0);
    });
    let trouble = trouble(&samba, stripped).await;
    assert!(is_tampered(&trouble), "{trouble}");
    assert!(trouble.to_string().contains("without a signature"), "{trouble}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_changed_is_refused() {
    let Some(samba) = Samba::start(CLEAR) else { return };
    std::fs::write(samba.served().join("secret"), b"x").unwrap();
    let changed = changing(CREATE, |message| message[64 + 40] ^= 1);
    let trouble = trouble(&samba, changed).await;
    assert!(is_tampered(&trouble), "{trouble}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_answer_that_was_changed_is_refused() {
    let Some(samba) = Samba::start("") else { return };
    let rule: Rule = Box::new(|way, message: &mut Vec<u8>| {
        if way == Way::Back && message.starts_with(b"\xFDSMB") {
            *message.last_mut().unwrap() ^= 1;
        }
        Fate::Pass
    });
    let trouble = trouble(&samba, rule).await;
    assert!(is_tampered(&trouble), "{trouble}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_answer_in_a_sealed_session_is_refused() {
    let Some(samba) = Samba::start("") else { return };
    let rule: Rule = Box::new(|way, message: &mut Vec<u8>| {
        if way == Way::Back && message.starts_with(b"\xFDSMB") {
            // A header of a message, as a server in the clear would begin one.
            let mut plain = vec![0; 80];
            plain[..4].copy_from_slice(b"\xFESMB");
            plain[16] = 1;
            *message = plain;
        }
        Fate::Pass
    });
    let trouble = trouble(&samba, rule).await;
    assert!(trouble.to_string().contains("in the clear"), "{trouble}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialect_that_was_lowered_on_the_way_is_refused() {
    let Some(samba) = Samba::start("") else { return };
    let lowered = changing(NEGOTIATE, |message| {
        message[68..70].copy_from_slice(&0x302u16.to_le_bytes());
    });
    let trouble = trouble(&samba, lowered).await;
    assert!(matches!(trouble, Trouble::Dialect { .. }), "{trouble}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_negotiation_that_was_changed_on_the_way_lets_nobody_in() {
    let Some(samba) = Samba::start("") else { return };
    // The largest write, either way of it: whatever is changed changes the keys.
    for way in [Way::ToHost, Way::Back] {
        let rule: Rule = Box::new(move |on, message: &mut Vec<u8>| {
            if on == way && command(message) == Some(NEGOTIATE) {
                let at = match way {
                    // A byte of the client's GUID.
                    Way::ToHost => 64 + 12,
                    Way::Back => 64 + 34,
                };
                message[at] ^= 1;
            }
            Fate::Pass
        });
        let trouble = trouble(&samba, rule).await;
        assert!(is_tampered(&trouble), "{trouble}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_answered_without_a_signature_is_refused() {
    let Some(samba) = Samba::start("") else { return };
    let unsigned = changing(SESSION_SETUP, |message| {
        if message[8..12] == [0; 4] {
            message[16] &= !8;
        }
    });
    let trouble = trouble(&samba, unsigned).await;
    assert!(is_tampered(&trouble), "{trouble}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_sealed_where_the_server_offers_it_and_signed_where_not() {
    for (more, sealed) in [("", true), (CLEAR, false)] {
        let Some(samba) = Samba::start(more) else { return };
        let rule: Rule = Box::new(move |way, message: &mut Vec<u8>| {
            match command(message) {
                Some(NEGOTIATE | SESSION_SETUP) => {}
                Some(_) => {
                    assert!(!sealed, "a {way:?} message in the clear");
                    // An answer that is still to come is said to be so without one.
                    let pending = way == Way::Back && message[8..12] == 0x103u32.to_le_bytes();
                    assert!(
                        message[16] & 8 != 0 || pending,
                        "a {way:?} message without a signature"
                    );
                }
                None => assert!(sealed && message.starts_with(b"\xFDSMB")),
            }
            Fate::Pass
        });
        let proxy = Proxy::start(samba.port, rule).await;
        let files = SmbFiles::new(samba.through(proxy.port), &root()).unwrap();
        files.make_directory(&at("d")).await.unwrap();
        let mut file = files.create(&at(r"d\f")).await.unwrap();
        file.write_at(0, b"secret").await.unwrap();
        file.close().await.unwrap();
        assert_eq!(files.list(&at("d")).await.unwrap().len(), 1);
    }
}

/// The kinds of what is offered with the first message. \[MS-SMB2\] 2.2.3.1.
fn offered(message: &[u8]) -> Vec<u16> {
    let number = |at: usize| u16::from_le_bytes([message[at], message[at + 1]]);
    let (mut at, count) = (usize::from(number(64 + 28)), number(64 + 32));
    let mut kinds = Vec::new();
    for _ in 0..count {
        kinds.push(number(at));
        at = (at + 8 + usize::from(number(at + 2))).next_multiple_of(8);
    }
    kinds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encryption_is_offered_and_compression_is_not() {
    let Some(samba) = Samba::start("") else { return };
    let kinds = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&kinds);
    let rule: Rule = Box::new(move |way, message: &mut Vec<u8>| {
        if way == Way::ToHost && command(message) == Some(NEGOTIATE) {
            seen.lock().unwrap().extend(offered(message));
        }
        Fate::Pass
    });
    let proxy = Proxy::start(samba.port, rule).await;
    let files = SmbFiles::new(samba.through(proxy.port), &root()).unwrap();
    files.connect().await.unwrap();
    // Integrity of the login, encryption, signing; compression would be 3.
    assert_eq!(*kinds.lock().unwrap(), [1, 2, 8]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_encryption_is_refused_where_it_is_asked_for() {
    let Some(samba) = Samba::start("server smb encrypt = off") else {
        return;
    };
    let mut host = samba.host();
    host.encryption = Encryption::Required;
    let files = SmbFiles::new(host, &root()).unwrap();
    let trouble = files.connect().await.unwrap_err();
    assert!(matches!(trouble, Trouble::NoEncryption { .. }), "{trouble}");
}
