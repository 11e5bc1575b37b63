//! Uploads that libvirt's daemon would not survive if they went wrong.

use std::time::Duration;

use bytes::Bytes as Chunk;
use futures::{StreamExt, stream};
use labyard_driver::conformance::sample;
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::spec::VolumeContent;
use labyard_driver::{Driver, DriverError};

use crate::host;
use crate::own_host::OwnHost;

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_survives_uploads_that_do_not_fit() {
    let Some(own) = OwnHost::start("uploads") else {
        return;
    };
    let driver = host::driver(&own.uri);
    let small = PoolName::from("small");
    let name = |n: u32| VolumeName(format!("upload-{n}"));
    let upload = |mib: u64| VolumeContent::Upload {
        length: Bytes::from_mib(mib),
    };

    let too_large = driver
        .create_volume(&sample::volume(&small, &name(0), upload(9)))
        .await
        .unwrap_err();
    assert!(matches!(too_large, DriverError::NoSpace { .. }), "{too_large:?}");
    let room = driver.pool_room(&small).await.unwrap();
    assert_eq!(driver.volumes(&small).await.unwrap(), []);

    driver
        .create_volume(&sample::volume(&small, &name(1), upload(4)))
        .await
        .unwrap();
    let second = driver
        .create_volume(&sample::volume(&small, &name(2), upload(4)))
        .await
        .unwrap_err();
    assert!(matches!(second, DriverError::NoSpace { .. }), "{second:?}");
    // More than was announced, in the last piece and after it; and less.
    for surplus in [1_i64, 300_000, -1] {
        let length = usize::try_from((4 << 20) + surplus).unwrap();
        let pieces = stream::iter(
            vec![7_u8; length]
                .chunks(65_536)
                .map(Chunk::copy_from_slice)
                .collect::<Vec<_>>(),
        );
        let failed = driver
            .upload(
                &small,
                &name(1),
                Bytes::from_mib(4),
                pieces.map(Ok).boxed(),
                DEADLINE,
            )
            .await
            .unwrap_err();
        assert!(matches!(failed, DriverError::Source { .. }), "{failed:?}");
        driver.snapshot().await.unwrap();
    }
    let whole = stream::iter((0..64).map(|n| Ok(Chunk::from(vec![n; 65_536])))).boxed();
    driver
        .upload(&small, &name(1), Bytes::from_mib(4), whole, DEADLINE)
        .await
        .unwrap();
    let read = driver
        .download(&small, &name(1), Bytes::from_mib(4))
        .await
        .unwrap();
    assert!(
        read.chunks(65_536)
            .zip(0..)
            .all(|(piece, n)| piece.iter().all(|byte| *byte == n))
    );
    driver.delete_volume(&small, &name(1)).await.unwrap();
    assert_eq!(driver.pool_room(&small).await.unwrap(), room);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_hundreds_of_megabytes_goes_through_a_little_memory() {
    let Some(uri) = host::uri() else { return };
    let driver = host::driver(&uri);
    let (pool, name) = (host::pool(), VolumeName(host::fresh("large")));
    let length = Bytes::from_mib(256);
    driver
        .create_volume(&sample::volume(&pool, &name, VolumeContent::Upload { length }))
        .await
        .unwrap();
    let before = resident();
    let pieces =
        stream::iter((0..4096_u32).map(|n| Ok(Chunk::from(vec![n.to_le_bytes()[0]; 65_536])))).boxed();
    let began = std::time::Instant::now();
    driver
        .upload(&pool, &name, length, pieces, DEADLINE)
        .await
        .unwrap();
    println!("256 MiB in {:?}", began.elapsed());
    let grown = resident().saturating_sub(before);
    driver.delete_volume(&pool, &name).await.unwrap();
    assert!(grown < 64 << 20, "{grown} bytes more");
}

/// The memory that this process has had at most.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
