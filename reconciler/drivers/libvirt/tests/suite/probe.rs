//! What really runs guests.

use std::time::{Duration, Instant};

use labyard_driver::Driver;
use labyard_driver::spec::{Accelerator, ProbePayload};
use labyard_driver_libvirt::AcceleratorChoice;

use crate::host;

/// A boot sector that writes a word to the first serial port and halts: mov si, word; mov dx, 0x3f8; lodsb; out; hlt.
fn payload(word: &[u8]) -> ProbePayload {
    let mut image = vec![
        0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x15, 0x7c, 0xba, 0xf8, 0x03, 0xac, 0x84, 0xc0, 0x74,
    ];
    image.extend_from_slice(&[0x03, 0xee, 0xeb, 0xf8, 0xf4, 0xeb, 0xfd]);
    image.extend_from_slice(word);
    image.resize(510, 0);
    image.extend_from_slice(&[0x55, 0xaa]);
    ProbePayload {
        image,
        magic: word.to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_runs_is_heard_and_one_that_stays_silent_is_not_waited_for_long() {
    let Some(uri) = host::uri() else { return };
    let driver = host::driver(&uri);
    assert!(
        driver
            .runs(Accelerator::Qemu, &payload(b"labyard runs"))
            .await
            .unwrap()
    );
    let mut silent = payload(b"labyard runs");
    silent.magic = b"another word".to_vec();
    let began = Instant::now();
    assert!(!driver.runs(Accelerator::Qemu, &silent).await.unwrap());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let left = driver.volumes(&host::pool()).await.unwrap();
    assert!(
        left.iter()
            .all(|name| !name.as_str().starts_with("labyard-probe-")),
        "{left:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_is_taken_as_it_is_and_an_answer_is_kept() {
    let Some(uri) = host::uri() else { return };
    for (choice, answer) in [
        (AcceleratorChoice::Kvm, Accelerator::Kvm),
        (AcceleratorChoice::Qemu, Accelerator::Qemu),
    ] {
        let driver = host::driver_of(&uri, choice);
        assert_eq!(driver.probe_accelerator(&payload(b"w")).await.unwrap(), answer);
        assert_eq!(driver.calls().await, 0);
    }
    let driver = host::driver_of(&uri, AcceleratorChoice::Auto);
    let answer = driver.probe_accelerator(&payload(b"labyard runs")).await.unwrap();
    let began = Instant::now();
    assert_eq!(
        driver.probe_accelerator(&payload(b"labyard runs")).await.unwrap(),
        answer
    );
    assert!(began.elapsed() < Duration::from_secs(1));
    println!("auto means {answer:?} here");
}
