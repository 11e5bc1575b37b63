//! Networks, their reservations and leases.

use std::net::IpAddr;

use super::lab::{Failure, Lab, ensure, ensure_eq, ensure_error};
use super::sample;
use crate::DriverError;
use crate::ids::MacAddr;
use crate::lan::{Dhcp6, Ipv6, Lan, Records, VlanId};
use crate::mark::{Kind, Mark, Stage};
use crate::observed::{
    Ability, Activity, Attachment, Autostart, NetworkStanding, ObservedNetwork, Power, Reservation,
};
use crate::spec::{Dhcp, NetworkMode, NetworkSpec};

type Result = std::result::Result<(), Failure>;

fn ensure_as_asked(seen: &ObservedNetwork, spec: &NetworkSpec) -> Result {
    ensure_eq!(seen.id, spec.id, "the id");
    ensure_eq!(seen.host_name, spec.host_name, "the name");
    ensure_eq!(seen.mark.ours(), Some(&spec.mark), "the mark");
    ensure_eq!(seen.active, Activity::Active, "whether it is up");
    ensure_eq!(seen.autostart, spec.autostart, "autostart");
    ensure_eq!(seen.mode, Some(spec.mode), "the mode");
    ensure_eq!(seen.address, spec.address, "the address");
    ensure_eq!(seen.dhcp, spec.dhcp, "the DHCP range");
    ensure_eq!(seen.domain, spec.domain, "the domain");
    ensure_eq!(seen.lan, spec.lan, "what else it offers");
    ensure_eq!(seen.standing, NetworkStanding::AsDefined, "what runs");
    ensure!(
        seen.bridge.as_ref().is_some_and(|name| !name.is_empty()),
        "the network has no bridge"
    );
    Ok(())
}

/// The nth address of a network's net.
fn address(spec: &NetworkSpec, n: u32) -> std::result::Result<IpAddr, Failure> {
    let net = spec
        .address
        .ok_or_else(|| Failure::new("the network has no address"))?;
    Ok(IpAddr::V4((u32::from(net.network()) + n).into()))
}

fn reservation(spec: &NetworkSpec, mac: MacAddr, n: u32) -> std::result::Result<Reservation, Failure> {
    Ok(Reservation {
        mac,
        address: address(spec, n)?,
        name: None,
    })
}

pub(super) async fn a_network_runs_and_shows_what_was_asked_for(lab: &Lab<'_>) -> Result {
    let mut spec = lab.network("net")?;
    spec.domain = Some("lab.test".to_owned());
    spec.autostart = Autostart::On;
    ensure_as_asked(&lab.create(&mut spec).await?, &spec)?;
    let seen = lab.driver.network(&spec.id).await?;
    ensure_as_asked(&seen, &spec)?;
    ensure_eq!(
        (seen.reservations, seen.leases),
        (vec![], vec![]),
        "reservations and leases"
    );
    ensure_eq!(lab.driver.leases(&spec.id).await?, [], "the leases");
    Ok(())
}

pub(super) async fn a_name_that_is_taken_exists_already(lab: &Lab<'_>) -> Result {
    let mut first = lab.network("net")?;
    lab.create(&mut first).await?;
    let mut second = lab.network("other")?;
    second.host_name = first.host_name.clone();
    ensure_error!(lab.driver.create_network(&second).await, Exists);
    ensure_error!(lab.driver.create_network(&first).await, Exists);
    ensure_error!(lab.driver.network(&second.id).await, Missing);
    ensure_as_asked(&lab.driver.network(&first.id).await?, &first)
}

pub(super) async fn an_id_that_is_taken_exists_already(lab: &Lab<'_>) -> Result {
    let mut first = lab.network("net")?;
    lab.create(&mut first).await?;
    let mut second = lab.network("other")?;
    second.id = first.id.clone();
    ensure_error!(lab.driver.create_network(&second).await, Exists);
    ensure_as_asked(&lab.driver.network(&first.id).await?, &first)
}

async fn ensure_refused_without_a_trace(lab: &Lab<'_>, spec: &NetworkSpec) -> Result {
    ensure_error!(lab.driver.create_network(spec).await, Refused);
    ensure_error!(lab.driver.network(&spec.id).await, Missing);
    let snapshot = lab.driver.snapshot().await?;
    let left = snapshot
        .networks
        .iter()
        .any(|network| network.host_name == spec.host_name);
    ensure!(!left, "the refused network is still there");
    Ok(())
}

pub(super) async fn a_subnet_in_use_is_refused_and_leaves_nothing(lab: &Lab<'_>) -> Result {
    let mut first = lab.network("net")?;
    lab.create(&mut first).await?;
    let mut second = lab.network("other")?;
    (second.address, second.dhcp) = (first.address, first.dhcp);
    ensure_refused_without_a_trace(lab, &second).await
}

pub(super) async fn a_bridge_in_use_is_refused_and_leaves_nothing(lab: &Lab<'_>) -> Result {
    let mut first = lab.network("net")?;
    let bridge = lab.create(&mut first).await?.bridge;
    let mut second = lab.network("other")?;
    second.bridge = bridge;
    ensure_refused_without_a_trace(lab, &second).await
}

pub(super) async fn what_is_not_there_is_missing(lab: &Lab<'_>) -> Result {
    let spec = lab.network("missing")?;
    let (id, mac) = (&spec.id, sample::mac("missing"));
    ensure_error!(lab.driver.network(id).await, Missing);
    ensure_error!(lab.driver.change_network(&spec).await, Missing);
    ensure_error!(lab.driver.write_network_mark(id, &spec.mark).await, Missing);
    ensure_error!(
        lab.driver
            .reserve_address(id, &reservation(&spec, mac, 20)?)
            .await,
        Missing
    );
    ensure_error!(lab.driver.leases(id).await, Missing);
    Ok(())
}

pub(super) async fn removal_repeated_is_success(lab: &Lab<'_>) -> Result {
    let mut spec = lab.network("net")?;
    lab.create(&mut spec).await?;
    lab.driver.remove_network(&spec.id).await?;
    lab.driver.remove_network(&spec.id).await?;
    ensure_error!(lab.driver.network(&spec.id).await, Missing);
    ensure_as_asked(&lab.create(&mut spec).await?, &spec)
}

pub(super) async fn a_change_keeps_id_and_reservations(lab: &Lab<'_>) -> Result {
    let mut spec = lab.network("net")?;
    let bridge = lab.create(&mut spec).await?.bridge;
    let kept = reservation(&spec, sample::mac("kept"), 30)?;
    lab.driver.reserve_address(&spec.id, &kept).await?;
    let base = spec.address.map_or(0, |net| u32::from(net.network()));
    spec.dhcp = Some(Dhcp {
        start: (base + 20).into(),
        end: (base + 90).into(),
    });
    spec.domain = Some("changed.test".to_owned());
    spec.mark.stage = Stage::Finished;
    for _ in 0..2 {
        let seen = lab.driver.change_network(&spec).await?;
        ensure_as_asked(&seen, &spec)?;
        ensure_eq!(seen.bridge, bridge, "the bridge");
        ensure_eq!(seen.reservations, vec![kept.clone()], "the reservations");
    }
    Ok(())
}

pub(super) async fn a_mark_written_alone_is_seen(lab: &Lab<'_>) -> Result {
    let mut spec = lab.network("net")?;
    lab.create(&mut spec).await?;
    spec.mark.stage = Stage::Finished;
    spec.mark.wishes = serde_json::json!({"text": "]]> & <b>\n\u{1}"});
    lab.driver.write_network_mark(&spec.id, &spec.mark).await?;
    lab.driver.write_network_mark(&spec.id, &spec.mark).await?;
    ensure_as_asked(&lab.driver.network(&spec.id).await?, &spec)?;
    let marks = lab.driver.marks().await?;
    let mark = marks.iter().find(|(id, _)| *id == spec.id).map(|(_, mark)| mark);
    ensure_eq!(mark, Some(&spec.mark), "the mark among all");
    ensure_eq!(mark.map(|mark| mark.kind), Some(Kind::Network), "the kind");
    Ok(())
}

pub(super) async fn a_reservation_repeated_is_success_and_is_seen(lab: &Lab<'_>) -> Result {
    let mut spec = lab.network("net")?;
    lab.create(&mut spec).await?;
    let mut wanted = reservation(&spec, sample::mac("one"), 20)?;
    wanted.name = Some("one".to_owned());
    lab.driver.reserve_address(&spec.id, &wanted).await?;
    lab.driver.reserve_address(&spec.id, &wanted).await?;
    ensure_eq!(
        lab.driver.network(&spec.id).await?.reservations,
        [wanted],
        "the reservations"
    );
    Ok(())
}

pub(super) async fn an_address_or_mac_that_is_taken_exists_already(lab: &Lab<'_>) -> Result {
    let mut spec = lab.network("net")?;
    lab.create(&mut spec).await?;
    let first = reservation(&spec, sample::mac("one"), 20)?;
    lab.driver.reserve_address(&spec.id, &first).await?;
    let same_address = reservation(&spec, sample::mac("two"), 20)?;
    ensure_error!(lab.driver.reserve_address(&spec.id, &same_address).await, Exists);
    let same_mac = reservation(&spec, sample::mac("one"), 21)?;
    ensure_error!(lab.driver.reserve_address(&spec.id, &same_mac).await, Exists);
    ensure_eq!(
        lab.driver.network(&spec.id).await?.reservations,
        [first],
        "the reservations"
    );
    Ok(())
}

pub(super) async fn an_address_set_aside_is_kept_for_its_mac_and_can_be_reserved(lab: &Lab<'_>) -> Result {
    let mut spec = lab.network("net")?;
    lab.create(&mut spec).await?;
    let wanted = reservation(&spec, sample::mac("one"), 20)?;
    let other = reservation(&spec, sample::mac("two"), 20)?;
    for _ in 0..2 {
        lab.driver.set_address_aside(&spec.id, &wanted).await?;
    }
    ensure_error!(lab.driver.set_address_aside(&spec.id, &other).await, Exists);
    ensure_error!(lab.driver.reserve_address(&spec.id, &other).await, Exists);
    lab.driver.reserve_address(&spec.id, &wanted).await?;
    lab.driver.set_address_aside(&spec.id, &wanted).await?;
    let seen = lab.driver.network(&spec.id).await?.reservations;
    ensure_eq!(seen, vec![wanted.clone()], "the reservations");
    lab.driver
        .release_address(&spec.id, wanted.mac, wanted.address)
        .await?;
    ensure_eq!(
        lab.driver.network(&spec.id).await?.reservations,
        [],
        "what is left"
    );
    Ok(())
}

pub(super) async fn no_address_is_lost_while_the_mark_is_written(lab: &Lab<'_>) -> Result {
    let mut spec = lab.network("net")?;
    lab.create(&mut spec).await?;
    let wanted = (20..30).map(|last| reservation(&spec, sample::mac(&last.to_string()), last));
    let wanted = wanted.collect::<std::result::Result<Vec<_>, _>>()?;
    let reserve = async {
        for one in &wanted {
            lab.driver.set_address_aside(&spec.id, one).await?;
        }
        Ok::<_, DriverError>(())
    };
    let mark = async {
        for stage in [
            Stage::Define,
            Stage::Image,
            Stage::Disks,
            Stage::Start,
            Stage::Finished,
        ] {
            let mark = Mark {
                stage,
                ..spec.mark.clone()
            };
            lab.driver.write_network_mark(&spec.id, &mark).await?;
        }
        Ok::<_, DriverError>(())
    };
    futures::try_join!(reserve, mark)?;
    let mut seen = lab.driver.network(&spec.id).await?.reservations;
    seen.sort_by_key(|one| one.address);
    ensure_eq!(seen, wanted, "the reservations");
    Ok(())
}

pub(super) async fn a_release_repeated_is_success(lab: &Lab<'_>) -> Result {
    let mut spec = lab.network("net")?;
    lab.create(&mut spec).await?;
    let (one, two) = (sample::mac("one"), sample::mac("two"));
    let kept = reservation(&spec, one, 20)?;
    lab.driver.reserve_address(&spec.id, &kept).await?;
    let elsewhere = [(one, address(&spec, 21)?), (two, kept.address)];
    for (mac, address) in elsewhere {
        lab.driver.release_address(&spec.id, mac, address).await?;
        let seen = lab.driver.network(&spec.id).await?.reservations;
        ensure_eq!(
            seen.as_slice(),
            std::slice::from_ref(&kept),
            "a reservation that is another's"
        );
    }
    lab.driver.release_address(&spec.id, one, kept.address).await?;
    lab.driver.release_address(&spec.id, one, kept.address).await?;
    ensure_eq!(
        lab.driver.network(&spec.id).await?.reservations,
        [],
        "the reservations"
    );
    lab.driver
        .reserve_address(&spec.id, &reservation(&spec, two, 20)?)
        .await?;
    Ok(())
}

pub(super) async fn a_snapshot_shows_what_was_made_and_nothing_after_removal(lab: &Lab<'_>) -> Result {
    let mut spec = lab.network("net")?;
    lab.create(&mut spec).await?;
    let kept = reservation(&spec, sample::mac("kept"), 30)?;
    lab.driver.reserve_address(&spec.id, &kept).await?;
    let snapshot = lab.driver.snapshot().await?;
    let seen = snapshot.networks.iter().find(|network| network.id == spec.id);
    let seen = seen.ok_or_else(|| Failure::new("the network is not in the snapshot"))?;
    ensure_as_asked(seen, &spec)?;
    ensure_eq!(seen.reservations, [kept], "the reservations");
    lab.driver.remove_network(&spec.id).await?;
    let snapshot = lab.driver.snapshot().await?;
    ensure!(
        snapshot.networks.iter().all(|network| network.id != spec.id),
        "the network is still shown"
    );
    Ok(())
}

fn records(all: &[(&str, &[IpAddr])]) -> Records {
    all.iter()
        .map(|(name, addresses)| ((*name).to_owned(), addresses.iter().copied().collect()))
        .collect()
}

/// What a network can offer but a VLAN, its IPv6 made of its IPv4 so that two networks do not share one.
fn offers(spec: &NetworkSpec) -> std::result::Result<Lan, Failure> {
    let IpAddr::V4(v4) = address(spec, 5)? else {
        return Err(Failure::new("the network has no IPv4"));
    };
    let six = |last: u16| {
        let [a, b, c, _] = v4.octets();
        let (a, b) = (u16::from_be_bytes([a, b]), u16::from(c));
        std::net::Ipv6Addr::new(0xfd00, a, b, 0, 0, 0, 0, last)
    };
    let net = ipnet::Ipv6Net::new(six(1), 64).map_err(|_| Failure::new("no IPv6 network"))?;
    Ok(Lan {
        ipv6: Some(Ipv6 {
            address: net,
            dhcp: Some(Dhcp6 {
                start: six(0x10),
                end: six(0x20),
            }),
        }),
        dhcp_options: [
            ("42".to_owned(), v4.to_string()),
            ("tftp-server".to_owned(), "boot.test".to_owned()),
        ]
        .into(),
        forwarders: vec!["192.0.2.53".parse().map_err(|_| Failure::new("no address"))?],
        records: records(&[
            ("one.test", &[IpAddr::V4(v4)]),
            ("both.test", &[IpAddr::V4(v4), IpAddr::V6(six(5))]),
        ]),
        vlan: None,
        mtu: Some(1400),
    })
}

pub(super) async fn what_a_network_offers_is_shown_changed_and_taken_back(lab: &Lab<'_>) -> Result {
    let mut spec = lab.network("net")?;
    let plain = spec.lan.clone();
    spec.lan = offers(&spec)?;
    spec.mode = NetworkMode::Routed;
    ensure_as_asked(&lab.create(&mut spec).await?, &spec)?;
    let kept = reservation(&spec, sample::mac("kept"), 30)?;
    lab.driver.reserve_address(&spec.id, &kept).await?;
    spec.lan.mtu = Some(9000);
    spec.lan.ipv6 = spec.lan.ipv6.map(|ipv6| Ipv6 { dhcp: None, ..ipv6 });
    spec.lan.dhcp_options = [("42".to_owned(), "192.0.2.1,192.0.2.2".to_owned())].into();
    for _ in 0..2 {
        let seen = lab.driver.change_network(&spec).await?;
        ensure_as_asked(&seen, &spec)?;
        ensure_eq!(seen.reservations, vec![kept.clone()], "the reservations");
    }
    spec.lan = plain;
    ensure_as_asked(&lab.driver.change_network(&spec).await?, &spec)?;
    lab.driver
        .release_address(&spec.id, kept.mac, kept.address)
        .await?;
    ensure_eq!(
        lab.driver.network(&spec.id).await?.reservations,
        [],
        "the reservations"
    );
    Ok(())
}

pub(super) async fn a_network_on_a_bridge_of_the_host_shows_its_vlan(lab: &Lab<'_>) -> Result {
    let mut spec = lab.network("net")?;
    (spec.mode, spec.bridge) = (NetworkMode::Bridge, Some("conform0".to_owned()));
    (spec.address, spec.dhcp, spec.lan.vlan) = (None, None, Some(VlanId(42)));
    let made = lab.create(&mut spec).await;
    if !lab.can(Ability::BridgeVlan).await? {
        ensure!(
            matches!(made, Err(DriverError::Unsupported { .. })),
            "a VLAN that the host cannot do: {made:?}"
        );
        return Ok(());
    }
    ensure_as_asked(&made?, &spec)?;
    for vlan in [Some(VlanId(43)), None] {
        spec.lan.vlan = vlan;
        ensure_as_asked(&lab.driver.change_network(&spec).await?, &spec)?;
    }
    Ok(())
}

pub(super) async fn guests_are_put_back_on_a_network_that_got_another_bridge_of_the_host(
    lab: &Lab<'_>,
) -> Result {
    let (mut one, mut two, mut trunk) = (lab.network("one")?, lab.network("two")?, lab.network("trunk")?);
    // Any bridges that are there will do.
    let (one, two) = (lab.create(&mut one).await?, lab.create(&mut two).await?);
    (trunk.mode, trunk.bridge) = (NetworkMode::Bridge, one.bridge);
    (trunk.address, trunk.dhcp, trunk.domain) = (None, None, None);
    lab.create(&mut trunk).await?;
    let mut machine = sample::with_nic(lab.machine("guest"), &trunk.host_name);
    lab.define(&mut machine).await?;
    lab.driver.start_machine(&machine.id).await?;
    trunk.bridge = two.bridge;
    lab.driver.change_network(&trunk).await?;
    let standing = async || {
        let snapshot = lab.driver.snapshot().await?;
        let seen = snapshot.networks.iter().find(|seen| seen.id == trunk.id);
        Ok::<_, Failure>(seen.map(|seen| seen.standing))
    };
    ensure_eq!(
        standing().await?,
        Some(NetworkStanding::Behind),
        "after the restart"
    );
    for _ in 0..2 {
        lab.driver.reattach_guests(&trunk.id).await?;
        ensure_eq!(standing().await?, Some(NetworkStanding::AsDefined), "put back");
    }
    let on = lab.detail(&machine.id).await?.nics[0].live_attachment.clone();
    ensure_eq!(on, Some(machine.nics[0].attachment.clone()), "where the guest is");
    Ok(())
}

pub(super) async fn guests_are_put_back_on_a_network_that_was_restarted(lab: &Lab<'_>) -> Result {
    let mut network = lab.network("net")?;
    lab.create(&mut network).await?;
    let mut machine = sample::with_nic(lab.machine("guest"), &network.host_name);
    lab.define(&mut machine).await?;
    lab.driver.start_machine(&machine.id).await?;
    let standing = async || {
        let snapshot = lab.driver.snapshot().await?;
        let seen = snapshot.networks.iter().find(|seen| seen.id == network.id);
        Ok::<_, Failure>(seen.map(|seen| seen.standing))
    };
    ensure_eq!(
        standing().await?,
        Some(NetworkStanding::AsDefined),
        "after the start"
    );
    let mut changed = network.clone();
    changed.lan.records = records(&[("one.test", &[address(&network, 5)?])]);
    lab.driver.change_network(&changed).await?;
    ensure_eq!(
        standing().await?,
        Some(NetworkStanding::AsDefined),
        "after another name"
    );
    changed.domain = Some("changed.test".to_owned());
    lab.driver.change_network(&changed).await?;
    ensure_eq!(
        standing().await?,
        Some(NetworkStanding::Behind),
        "after the restart"
    );
    for _ in 0..2 {
        lab.driver.reattach_guests(&network.id).await?;
        ensure_eq!(standing().await?, Some(NetworkStanding::AsDefined), "put back");
    }
    let seen = lab.driver.machine(&machine.id).await?;
    ensure_eq!(seen.power, Power::Running, "the machine");
    let live = super::lab::known(&seen)?
        .nics
        .first()
        .and_then(|nic| nic.live_attachment.clone());
    let there = Attachment::Network(network.host_name.clone());
    ensure_eq!(live, Some(there), "its NIC");
    let snapshot = lab.driver.snapshot().await?;
    let aside = snapshot
        .networks
        .iter()
        .filter(|seen| seen.host_name.contains(network.id.as_str()));
    ensure_eq!(aside.count(), 0, "throw-away networks");
    ensure_error!(lab.driver.reattach_guests(&sample::id("nobody")).await, Missing);
    Ok(())
}
