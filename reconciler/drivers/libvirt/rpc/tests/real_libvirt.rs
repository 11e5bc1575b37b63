//! Against a real libvirtd, named by LABYARD_TEST_LIBVIRT_URI: a host that tests may do anything to.
//!
//! Without the variable the tests say that they were skipped; with LABYARD_REQUIRE_LIBVIRT=1 that is a failure.

use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use libvirt_rpc::flags::{
    Affect, BlockResize, ConsoleFlags, DeviceModify, DomainCreate, DomainDefine, DomainDestroy,
    DomainUndefine, DomainXml, GetStats, ListDomains, ListNetworks, ListPools, NetworkXml, PoolBuild,
    PoolCreate, StatsTypes, VolCreate, VolDelete, VolResize,
};
use libvirt_rpc::{
    AgentTimeout, CapabilitiesOf, ConnectOptions, ConnectUri, Connection, DomainChange, DomainRef,
    DomainState, ErrorCode, ErrorDomain, Event, EventKind, Metadata, MetadataKind, NetworkChange,
    NetworkSection, NetworkUpdate, NetworkUpdateCommand, PoolRef, TypedValue, Version, VolRef,
};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// The host under test; `None`, said aloud, where there is none.
fn host_uri() -> Option<String> {
    match std::env::var("LABYARD_TEST_LIBVIRT_URI") {
        Ok(uri) if !uri.is_empty() => Some(uri),
        _ => {
            let required = std::env::var("LABYARD_REQUIRE_LIBVIRT").is_ok_and(|value| value == "1");
            assert!(
                !required,
                "LABYARD_REQUIRE_LIBVIRT=1 and LABYARD_TEST_LIBVIRT_URI is not set"
            );
            eprintln!("SKIPPED: LABYARD_TEST_LIBVIRT_URI names no libvirt to test against");
            None
        }
    }
}

async fn connect(uri: &str) -> Result<Connection, Box<dyn std::error::Error>> {
    let options = ConnectOptions {
        deadline: Duration::from_secs(20),
        ..ConnectOptions::default()
    };
    Ok(Connection::open(&uri.parse::<ConnectUri>()?, &options).await?)
}

fn domain_xml(name: &str) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='q35'>hvm</type></os>\
         <devices><serial type='pty'/><console type='pty'/></devices></domain>"
    )
}

fn volume_xml(name: &str, capacity: u64) -> String {
    format!(
        "<volume><name>{name}</name><capacity>{capacity}</capacity><allocation>{capacity}</allocation>\
         <target><format type='raw'/></target></volume>"
    )
}

async fn default_pool(connection: &Connection) -> Result<PoolRef, libvirt_rpc::Error> {
    connection.storage_pool_lookup_by_name("default").await
}

async fn new_volume(
    connection: &Connection,
    name: &str,
    capacity: u64,
) -> Result<VolRef, libvirt_rpc::Error> {
    let pool = default_pool(connection).await?;
    connection
        .storage_vol_create_xml(&pool, &volume_xml(name, capacity), VolCreate::empty())
        .await
}

#[tokio::test]
async fn the_host_describes_itself() -> TestResult {
    let Some(uri) = host_uri() else { return Ok(()) };
    let connection = connect(&uri).await?;
    assert!(connection.connect_get_lib_version().await? >= Version::new(9, 0, 0));
    assert!(connection.connect_get_version().await? >= Version::new(5, 0, 0));
    assert!(!connection.connect_get_hostname().await?.is_empty());
    assert!(
        connection
            .connect_get_capabilities()
            .await?
            .contains("<capabilities>")
    );
    let node = connection.node_get_info().await?;
    assert_eq!(node.model, "x86_64");
    assert!(node.cpus > 0 && node.memory_kib > 0);
    assert!(connection.node_get_free_memory().await? > 0);
    let of = CapabilitiesOf {
        arch: Some("x86_64"),
        virt: Some("qemu"),
        ..CapabilitiesOf::default()
    };
    assert!(
        connection
            .connect_get_domain_capabilities(of)
            .await?
            .contains("<domainCapabilities>")
    );
    connection.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_domain_lives_through_its_whole_life() -> TestResult {
    let Some(uri) = host_uri() else { return Ok(()) };
    let connection = connect(&uri).await?;
    let mut events = connection.subscribe(&[EventKind::DomainLifecycle]).await?;
    let domain = connection
        .domain_define_xml_flags(&domain_xml("rpc-life"), DomainDefine::VALIDATE)
        .await?;
    assert!(!domain.was_active());

    let listed = connection.connect_list_all_domains(ListDomains::INACTIVE).await?;
    assert!(listed.contains(&domain));
    assert_eq!(connection.domain_lookup_by_name("rpc-life").await?, domain);
    assert_eq!(connection.domain_lookup_by_uuid(domain.uuid).await?, domain);
    metadata_is_kept(&connection, &domain).await?;

    connection.domain_rename(&domain, "rpc-life-2").await?;
    let domain = connection.domain_lookup_by_uuid(domain.uuid).await?;
    assert_eq!(domain.name, "rpc-life-2");
    connection.domain_set_autostart(&domain, true).await?;
    assert!(connection.domain_get_autostart(&domain).await?);

    let running = connection
        .domain_create_with_flags(&domain, DomainCreate::PAUSED)
        .await?;
    assert!(running.was_active());
    assert_eq!(
        connection.domain_get_state(&domain).await?.state,
        DomainState::Paused
    );
    connection.domain_resume(&domain).await?;
    assert_eq!(
        connection.domain_get_state(&domain).await?.state,
        DomainState::Running
    );
    assert_eq!(connection.domain_get_info(&domain).await?.memory_kib, 64 * 1024);
    statistics_name_the_state(&connection, &domain).await?;
    let again = connection
        .domain_create_with_flags(&domain, DomainCreate::empty())
        .await
        .unwrap_err();
    assert!(again.is_invalid_state(), "{again}");

    connection
        .domain_destroy_flags(&domain, DomainDestroy::empty())
        .await?;
    connection
        .domain_undefine_flags(&domain, DomainUndefine::NVRAM)
        .await?;
    let gone = connection
        .domain_get_xml_desc(&domain, DomainXml::empty())
        .await
        .unwrap_err();
    assert!(gone.is_no_domain(), "{gone}");
    assert_eq!(gone.server().map(|error| error.domain), Some(ErrorDomain::Qemu));

    let mut seen = Vec::new();
    while seen.last() != Some(&DomainChange::Undefined) || !seen.contains(&DomainChange::Stopped) {
        match tokio::time::timeout(Duration::from_secs(5), events.next()).await? {
            Some(Event::DomainLifecycle {
                domain: of, change, ..
            }) if of.uuid == domain.uuid => seen.push(change),
            Some(_) => {}
            None => panic!("the connection ended"),
        }
    }
    assert!(seen.contains(&DomainChange::Started), "{seen:?}");
    Ok(())
}

async fn metadata_is_kept(connection: &Connection, domain: &DomainRef) -> TestResult {
    const NAMESPACE: &str = "https://example.org/mark";
    let get =
        || connection.domain_get_metadata(domain, MetadataKind::Element, Some(NAMESPACE), Affect::CONFIG);
    assert!(get().await.unwrap_err().is_no_metadata());
    let mark = Metadata::Element {
        xml: Some("<mark token='1'/>"),
        prefix: "m",
        uri: NAMESPACE,
    };
    connection
        .domain_set_metadata(domain, mark, Affect::CONFIG)
        .await?;
    assert!(get().await?.contains("token"));
    connection
        .domain_set_metadata(domain, Metadata::Title(Some("a title")), Affect::CONFIG)
        .await?;
    let read = connection
        .domain_get_metadata(domain, MetadataKind::Title, None, Affect::CONFIG)
        .await?;
    assert_eq!(read, "a title");
    Ok(())
}

async fn statistics_name_the_state(connection: &Connection, domain: &DomainRef) -> TestResult {
    let of_all = connection
        .connect_get_all_domain_stats(StatsTypes::STATE, GetStats::ACTIVE)
        .await?;
    let stats = of_all
        .iter()
        .find(|stats| stats.domain.uuid == domain.uuid)
        .ok_or("not listed")?;
    assert_eq!(stats.get("state.state").and_then(TypedValue::as_u64), Some(1));
    let one = std::slice::from_ref(domain);
    let of_one = connection
        .domain_list_get_stats(one, StatsTypes::all(), GetStats::empty())
        .await?;
    assert_eq!(of_one.len(), 1);
    assert!(of_one[0].get("balloon.current").is_some());
    Ok(())
}

#[tokio::test]
async fn devices_come_and_go_and_disks_grow() -> TestResult {
    let Some(uri) = host_uri() else { return Ok(()) };
    let connection = connect(&uri).await?;
    let volume = new_volume(&connection, "rpc-device.raw", 1 << 20).await?;
    let path = connection.storage_vol_get_path(&volume).await?;
    let domain = connection
        .domain_create_xml(&domain_xml("rpc-device"), DomainCreate::PAUSED)
        .await?;
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>\
         <target dev='vda' bus='virtio'/></disk>"
    );
    connection
        .domain_attach_device_flags(&domain, &disk, DeviceModify::LIVE)
        .await?;
    assert_eq!(
        connection.domain_get_block_info(&domain, "vda").await?.capacity,
        1 << 20
    );
    connection
        .domain_block_resize(&domain, "vda", 2 << 20, BlockResize::BYTES)
        .await?;
    assert_eq!(
        connection.domain_get_block_info(&domain, "vda").await?.capacity,
        2 << 20
    );
    assert!(!connection.domain_has_managed_save_image(&domain).await?);
    let ping = "{\"execute\":\"guest-ping\"}";
    let no_agent = connection
        .domain_agent_command(&domain, ping, AgentTimeout::Seconds(1))
        .await
        .unwrap_err();
    assert!(no_agent.server().is_some(), "{no_agent}");
    connection
        .domain_destroy_flags(&domain, DomainDestroy::empty())
        .await?;
    connection.storage_vol_delete(&volume, VolDelete::empty()).await?;
    Ok(())
}

#[tokio::test]
async fn a_console_shows_what_the_firmware_prints() -> TestResult {
    let Some(uri) = host_uri() else { return Ok(()) };
    let connection = connect(&uri).await?;
    let xml = domain_xml("rpc-console").replace("</os>", "<bios useserial='yes'/></os>");
    let domain = connection.domain_create_xml(&xml, DomainCreate::PAUSED).await?;
    let mut console = connection
        .domain_open_console(&domain, None, ConsoleFlags::FORCE)
        .await?;
    connection.domain_resume(&domain).await?;
    let mut text = String::new();
    let read = async {
        while !text.contains("SeaBIOS") {
            match console.read().await? {
                Some(piece) => text.push_str(&String::from_utf8_lossy(&piece)),
                None => break,
            }
        }
        Ok::<(), libvirt_rpc::Error>(())
    };
    tokio::time::timeout(Duration::from_secs(20), read).await??;
    console.write(Bytes::from_static(b"x")).await?;
    connection
        .domain_destroy_flags(&domain, DomainDestroy::empty())
        .await?;
    let end = async { while let Ok(Some(_)) = console.read().await {} };
    tokio::time::timeout(Duration::from_secs(5), end).await?;
    assert!(text.contains("SeaBIOS"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_network_is_defined_changed_and_removed() -> TestResult {
    let Some(uri) = host_uri() else { return Ok(()) };
    let connection = connect(&uri).await?;
    let mut events = connection.subscribe(&[EventKind::NetworkLifecycle]).await?;
    let xml = "<network><name>rpc-net</name><bridge name='rpcbr0'/><ip address='10.77.3.1' prefix='24'>\
               <dhcp><range start='10.77.3.10' end='10.77.3.20'/></dhcp></ip></network>";
    let network = connection.network_define_xml(xml).await?;
    connection.network_create(&network).await?;
    connection.network_set_autostart(&network, true).await?;
    assert!(connection.network_get_autostart(&network).await?);
    assert!(connection.network_is_active(&network).await?);
    assert_eq!(connection.network_get_bridge_name(&network).await?, "rpcbr0");
    assert!(
        connection
            .connect_list_all_networks(ListNetworks::ACTIVE)
            .await?
            .contains(&network)
    );
    assert_eq!(connection.network_lookup_by_uuid(network.uuid).await?, network);

    let reservation = NetworkUpdate {
        command: NetworkUpdateCommand::AddLast,
        section: NetworkSection::IpDhcpHost,
        parent: None,
        xml: "<host mac='52:54:00:00:00:07' ip='10.77.3.15'/>",
    };
    connection
        .network_update(&network, reservation, Affect::LIVE | Affect::CONFIG)
        .await?;
    assert!(
        connection
            .network_get_xml_desc(&network, NetworkXml::empty())
            .await?
            .contains("10.77.3.15")
    );
    let twice = connection
        .network_update(&network, reservation, Affect::LIVE)
        .await
        .unwrap_err();
    assert!(twice.is_invalid_state(), "{twice}");
    assert_eq!(
        connection.calls().get("CONNECT_SUPPORTS_FEATURE"),
        2,
        "the order is asked for once"
    );
    assert_eq!(connection.network_get_dhcp_leases(&network, None).await?, vec![]);

    connection.network_destroy(&network).await?;
    connection.network_undefine(&network).await?;
    assert!(
        connection
            .network_lookup_by_name("rpc-net")
            .await
            .unwrap_err()
            .is_no_network()
    );
    let mut seen = Vec::new();
    while seen.last() != Some(&NetworkChange::Undefined) {
        let next = tokio::time::timeout(Duration::from_secs(5), events.next()).await?;
        if let Some(Event::NetworkLifecycle { change, .. }) = next {
            seen.push(change);
        }
    }
    assert!(seen.contains(&NetworkChange::Started), "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn a_filter_is_defined_changed_and_removed() -> TestResult {
    const RULE: &str = "<rule action='drop' direction='in' priority='1000'/>";
    let Some(uri) = host_uri() else { return Ok(()) };
    let connection = connect(&uri).await?;
    let none = connection
        .nwfilter_lookup_by_name("rpc-filter")
        .await
        .unwrap_err();
    if none.is_unsupported() {
        eprintln!("SKIPPED: libvirt here has no driver for filters (libvirt-daemon-driver-nwfilter)");
        return Ok(());
    }
    assert!(none.is_no_nwfilter(), "{none}");
    let uuid = "2c4a7d1e-0000-4000-8000-0000000000f1";
    for rules in ["", RULE] {
        let xml = format!("<filter name='rpc-filter' chain='root'><uuid>{uuid}</uuid>{rules}</filter>");
        let defined = connection.nwfilter_define_xml(&xml).await?;
        assert_eq!(
            (defined.name.as_str(), defined.uuid.to_string().as_str()),
            ("rpc-filter", uuid)
        );
        let shown = connection.nwfilter_get_xml_desc(&defined).await?;
        assert_eq!(shown.contains("action='drop'"), !rules.is_empty(), "{shown}");
    }
    let filter = connection.nwfilter_lookup_by_name("rpc-filter").await?;
    connection.nwfilter_undefine(&filter).await?;
    assert!(
        connection
            .nwfilter_undefine(&filter)
            .await
            .unwrap_err()
            .is_no_nwfilter()
    );
    Ok(())
}

#[tokio::test]
async fn a_volume_is_written_read_back_resized_and_deleted() -> TestResult {
    const LENGTH: usize = 3 * 1024 * 1024 + 17;
    let Some(uri) = host_uri() else { return Ok(()) };
    let connection = connect(&uri).await?;
    let data: Bytes = (0..LENGTH)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let volume = new_volume(&connection, "rpc-stream.raw", LENGTH as u64).await?;
    let length = NonZeroU64::new(LENGTH as u64).ok_or("empty")?;

    let mut upload = connection.storage_vol_upload(&volume, 0, length).await?;
    upload.write(data.slice(..1000)).await?;
    upload.write_from(&mut &data[1000..]).await?;
    assert!(
        upload.write(Bytes::from_static(b"!")).await.is_err(),
        "a byte too many is refused here"
    );
    upload.finish().await?;

    let mut download = connection.storage_vol_download(&volume, 0, None).await?;
    let mut back = Vec::new();
    while let Some(piece) = download.next().await? {
        back.extend_from_slice(&piece);
    }
    assert!(back.starts_with(&data), "the contents differ");
    assert!(
        back[LENGTH..].iter().all(|byte| *byte == 0),
        "something follows the contents"
    );

    connection
        .storage_vol_resize(&volume, 8 << 20, VolResize::empty())
        .await?;
    assert_eq!(connection.storage_vol_get_info(&volume).await?.capacity, 8 << 20);
    connection.storage_vol_delete(&volume, VolDelete::empty()).await?;
    assert!(
        connection
            .storage_vol_get_info(&volume)
            .await
            .unwrap_err()
            .is_no_storage_vol()
    );
    Ok(())
}

#[tokio::test]
async fn an_upload_given_up_leaves_the_connection_whole() -> TestResult {
    let Some(uri) = host_uri() else { return Ok(()) };
    let connection = connect(&uri).await?;
    let volume = new_volume(&connection, "rpc-abort.raw", 4 << 20).await?;
    let length = NonZeroU64::new(4 << 20).ok_or("empty")?;
    let mut upload = connection.storage_vol_upload(&volume, 0, length).await?;
    upload.write(Bytes::from(vec![7; 1 << 20])).await?;
    assert!(upload.finish().await.is_err(), "too short to be finished");
    let mut download = connection.storage_vol_download(&volume, 0, None).await?;
    assert!(download.next().await?.is_some());
    download.abort();
    connection.storage_vol_delete(&volume, VolDelete::empty()).await?;
    let missing = connection
        .storage_vol_upload(&volume, 0, length)
        .await
        .unwrap_err();
    assert!(missing.is_no_storage_vol(), "{missing}");
    Ok(())
}

#[tokio::test]
async fn a_pool_is_made_used_and_removed() -> TestResult {
    let Some(uri) = host_uri() else { return Ok(()) };
    let connection = connect(&uri).await?;
    let source = new_volume(&connection, "rpc-beside.raw", 512).await?;
    let beside = connection.storage_vol_get_path(&source).await?;
    let path = beside.replace("rpc-beside.raw", "rpc-pool");
    let xml = format!("<pool type='dir'><name>rpc-pool</name><target><path>{path}</path></target></pool>");
    let pool = connection.storage_pool_define_xml(&xml).await?;
    connection.storage_pool_build(&pool, PoolBuild::empty()).await?;
    connection.storage_pool_create(&pool, PoolCreate::empty()).await?;
    connection.storage_pool_set_autostart(&pool, true).await?;
    assert!(connection.storage_pool_is_active(&pool).await?);
    assert!(
        connection
            .connect_list_all_storage_pools(ListPools::ACTIVE)
            .await?
            .contains(&pool)
    );
    assert_eq!(connection.storage_pool_lookup_by_target_path(&path).await?, pool);
    assert!(connection.storage_pool_get_info(&pool).await?.available > 0);

    assert_eq!(connection.storage_vol_lookup_by_path(&beside).await?, source);
    let xml = volume_xml("rpc-clone.raw", 512);
    let clone = connection
        .storage_vol_create_xml_from(&pool, &xml, &source, VolCreate::empty())
        .await?;
    connection.storage_pool_refresh(&pool).await?;
    assert_eq!(
        connection.storage_pool_list_all_volumes(&pool).await?,
        vec![clone.clone()]
    );
    let again = connection
        .storage_vol_create_xml(&pool, &xml, VolCreate::empty())
        .await
        .unwrap_err();
    assert!(again.is_vol_exists(), "{again}");
    connection.storage_vol_delete(&clone, VolDelete::empty()).await?;
    connection.storage_vol_delete(&source, VolDelete::empty()).await?;
    connection.storage_pool_destroy(&pool).await?;
    connection.storage_pool_delete(&pool).await?;
    connection.storage_pool_undefine(&pool).await?;
    let gone = connection
        .storage_pool_lookup_by_name("rpc-pool")
        .await
        .unwrap_err();
    assert_eq!(gone.code(), Some(ErrorCode::NoStoragePool));
    Ok(())
}

#[tokio::test]
async fn a_read_only_connection_may_look_and_not_touch() -> TestResult {
    let Some(uri) = host_uri() else { return Ok(()) };
    let separator = if uri.contains('?') { '&' } else { '?' };
    let connection = connect(&format!("{uri}{separator}mode=ro")).await?;
    connection.connect_list_all_domains(ListDomains::empty()).await?;
    let refused = connection
        .domain_create_xml(&domain_xml("rpc-ro"), DomainCreate::empty())
        .await
        .unwrap_err();
    assert!(refused.is_denied(), "{refused}");
    Ok(())
}

#[tokio::test]
async fn two_hundred_calls_at_once_are_all_answered() -> TestResult {
    let Some(uri) = host_uri() else { return Ok(()) };
    let connection = connect(&uri).await?;
    let domain = connection
        .domain_define_xml_flags(&domain_xml("rpc-many"), DomainDefine::empty())
        .await?;
    let before = connection.calls();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (one, two) = (
            (connection.clone(), domain.clone()),
            (connection.clone(), domain.clone()),
        );
        tasks.spawn(async move {
            one.0
                .domain_get_xml_desc(&one.1, DomainXml::INACTIVE)
                .await
                .map(drop)
        });
        tasks.spawn(async move { two.0.domain_get_state(&two.1).await.map(drop) });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome??;
    }
    let made = connection.calls().since(&before);
    assert_eq!(
        (made.get("DOMAIN_GET_XML_DESC"), made.get("DOMAIN_GET_STATE")),
        (100, 100)
    );
    assert_eq!(made.total(), 200);
    connection
        .domain_undefine_flags(&domain, DomainUndefine::empty())
        .await?;
    Ok(())
}
