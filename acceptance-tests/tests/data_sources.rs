//! Data sources: a host, a machine and a network as they are, and a clear word where there is none of that name.

use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::{Terraform, hcl};
use serde_json::Value;

fn output(terraform: &Terraform<'_>, name: &str) -> Value {
    terraform.state().unwrap()["values"]["outputs"][name]["value"].clone()
}

#[test]
fn what_is_there_is_read_and_what_is_not_is_said() {
    let host = Host::start().unwrap();
    let terraform = Terraform::new().unwrap();
    let made = hcl::on(&host)
        + &hcl::network("lab", 77)
        + &hcl::machine(
            "web",
            "memory_mib = 64\n  cpus = 2\n  power = \"stopped\"\n  graphics = \"vnc\"\n  labels = { team = \"qa\" }\n  disks = { data = { size_gib = 1, on_remove = \"delete\" } }\n  \
             nics = { lan = { network = labyard_network.lab.name } }",
        );
    let read = "data \"labyard_host\" \"here\" {\n  depends_on = [labyard_vm.web]\n}\n\
                data \"labyard_vm\" \"web\" {\n  name = labyard_vm.web.name\n}\n\
                data \"labyard_network\" \"lab\" {\n  name = labyard_network.lab.name\n  depends_on = [labyard_vm.web]\n}\n\
                output \"host\" {\n  value = data.labyard_host.here\n}\n\
                output \"vm\" {\n  value = data.labyard_vm.web\n}\n\
                output \"network\" {\n  value = data.labyard_network.lab\n}\n";
    terraform.write("main.tf", &(made.clone() + read)).unwrap();
    terraform.apply(&[]).unwrap().expect_success();

    let seen = output(&terraform, "host");
    assert_eq!(seen["name"], "lab1");
    assert_eq!(seen["storage_pool"], "default");
    assert_eq!(seen["storage_pools"]["default"]["type"], "directory");
    assert_eq!(seen["storage_pools"]["default"]["promised_mib"], 1024);
    assert!(seen["hypervisor"].as_str().unwrap().contains("libvirt"), "{seen}");
    assert_eq!(
        (&seen["machines"], &seen["machines_owned"]),
        (&1.into(), &1.into())
    );
    assert_eq!(seen["machines_running"], 0);
    assert_eq!(
        (&seen["cpus_taken"], &seen["memory_taken_mib"]),
        (&2.into(), &64.into())
    );
    let (memory, free) = (&seen["memory_mib"], &seen["memory_free_mib"]);
    assert_eq!(free.as_u64().unwrap() + 64, memory.as_u64().unwrap());
    assert_eq!(seen["cordoned"], false);
    assert!(
        seen["accelerators"].as_array().unwrap().contains(&"qemu".into()),
        "{seen}"
    );

    let seen = output(&terraform, "vm");
    let state = terraform.attributes("labyard_vm.web").unwrap().unwrap();
    for attribute in ["id", "host", "cpus", "memory_mib", "power"] {
        assert_eq!(seen[attribute], state[attribute], "{attribute}");
    }
    assert_eq!(
        (&seen["owned"], &seen["namespace"]),
        (&true.into(), &"default".into())
    );
    assert_eq!(seen["nics"]["lan"]["mac"], state["macs"]["lan"]);
    assert_eq!(seen["nics"]["lan"]["reserved"], state["ip"]);
    assert_eq!(seen["disks"]["data"]["storage_pool"], "default");
    assert_eq!(seen["disks"]["data"]["size_gib"], 1);
    assert_eq!(seen["addresses"], serde_json::json!([]));
    assert_eq!(seen["labels"], serde_json::json!({ "team": "qa" }));
    assert_eq!(
        (&seen["stage"], &seen["vnc_port"]),
        (&"finished".into(), &Value::Null)
    );

    let seen = output(&terraform, "network");
    assert_eq!((&seen["active"], &seen["mode"]), (&true.into(), &"nat".into()));
    assert_eq!(seen["machines"], serde_json::json!(["web"]));
    let mac = state["macs"]["lan"].as_str().unwrap();
    assert_eq!(seen["reservations"][mac], state["ip"]);
    // Room changes by itself; what is made does not.
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.actions("labyard_vm.web"), ["no-op"], "{}", plan.run().text());

    // What is not there is an error that names what is.
    for (kind, word) in [("labyard_vm", "web"), ("labyard_network", "lab")] {
        let missing = format!("data \"{kind}\" \"missing\" {{\n  name = \"nobody\"\n}}\n");
        terraform.write("main.tf", &(made.clone() + &missing)).unwrap();
        let refused = terraform.plan(&[]).unwrap();
        let error = &refused.run().errors()[0];
        assert_eq!(error.summary, "Not found", "{}", error.detail);
        assert!(
            error.detail.contains("nobody") && error.detail.contains(word),
            "{}",
            error.detail
        );
    }
    let unknown = "data \"labyard_host\" \"missing\" {\n  name = \"lab9\"\n}\n";
    terraform.write("main.tf", &(made.clone() + unknown)).unwrap();
    let refused = terraform.plan(&[]).unwrap();
    assert!(
        refused.run().errors()[0].detail.contains("lab1"),
        "{}",
        refused.run().text()
    );

    // What is known only after an apply is read then.
    terraform.write("main.tf", &made).unwrap();
    terraform.destroy(&[]).unwrap().expect_success();
    terraform
        .write(
            "main.tf",
            &(made + &read.replace("labyard_vm.web.name", "labyard_vm.web.id")),
        )
        .unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    assert_eq!(
        output(&terraform, "vm")["owned"],
        true,
        "read by an id that an apply made"
    );
    terraform.destroy(&[]).unwrap().expect_success();
}

#[test]
fn a_machine_that_never_became_ready_shows_how_far_it_came_and_where_it_can_be_seen() {
    let host = Host::start().unwrap();
    let terraform = Terraform::new().unwrap();
    // Nothing to boot: the firmware runs, and no agent will ever answer.
    let half = hcl::machine(
        "half",
        "memory_mib = 64\n  graphics = \"vnc\"\n  shutdown = { mode = \"force\" }\n  ready = { wait = \"agent\", timeout = \"2s\" }",
    );
    terraform.write("main.tf", &(hcl::on(&host) + &half)).unwrap();
    terraform.apply(&[]).unwrap().expect_failure();

    let onlooker = Terraform::new().unwrap();
    let read = "data \"labyard_vm\" \"half\" {\n  name = \"half\"\n}\noutput \"vm\" {\n  value = data.labyard_vm.half\n}\n";
    onlooker.write("main.tf", &(hcl::on(&host) + read)).unwrap();
    onlooker.apply(&[]).unwrap().expect_success();
    let seen = output(&onlooker, "vm");
    assert_eq!(
        (&seen["power"], &seen["stage"]),
        (&"running".into(), &"ready".into())
    );
    // `virsh` counts displays from VNC's first port.
    let shown = host.virsh(&["vncdisplay", "half"]).unwrap();
    let display: u64 = shown.trim().rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(seen["vnc_port"], 5900 + display, "{shown}");
    assert_eq!(seen["labels"], Value::Null);
    terraform.destroy(&[]).unwrap().expect_success();
}

/// A machine that others made, on a network of ours, that is off.
fn add_theirs(host: &Host) {
    let xml = "<domain type='qemu'><name>theirs</name><memory unit='MiB'>96</memory><vcpu>3</vcpu>
         <os><type machine='q35'>hvm</type></os><devices>
         <interface type='network'><mac address='52:54:00:99:00:01'/><source network='lab'/><model type='virtio'/></interface>
         </devices></domain>";
    host.observer()
        .unwrap()
        .connection()
        .define_domain_xml(xml)
        .unwrap();
}

#[test]
fn a_guest_that_runs_and_a_machine_of_others_are_read_as_they_are_at_this_moment() {
    let host = Host::start().unwrap();
    let terraform = Terraform::new().unwrap();
    let guest = format!(
        "memory_mib = 128\n  {}\n  shutdown = {{ mode = \"force\" }}\n  nics = {{ lan = {{ network = labyard_network.lab.name }} }}",
        hcl::boot("")
    );
    terraform.applied(&(hcl::on(&host) + &hcl::network("lab", 77) + &hcl::machine("web", guest)));
    add_theirs(&host);
    let state = terraform.resource("labyard_vm.web");
    let (mac, address) = (&state["macs"]["lan"], &state["ip"]);
    // By others: the guest has it.
    let lease = host.lease("lab", mac.as_str().unwrap()).unwrap();
    assert_eq!(lease.as_deref(), address.as_str());

    // Somebody else's state, who only looks.
    let onlooker = Terraform::new().unwrap();
    let read = ["labyard_vm\" \"web", "labyard_vm\" \"theirs", "labyard_network\" \"lab", "labyard_host\" \"lab1"]
        .map(|source| {
            let name = source.rsplit('"').next().unwrap();
            let kind = source.split('"').next().unwrap();
            format!(
                "data \"{source}\" {{\n  name = {name:?}\n}}\noutput \"{name}\" {{\n  value = data.{kind}.{name}\n}}\n"
            )
        });
    let config = hcl::on(&host) + &read.concat();
    onlooker.applied(&config);
    let web = output(&onlooker, "web");
    assert_eq!(
        (&web["power"], &web["owned"], &web["namespace"]),
        (&"running".into(), &true.into(), &"default".into())
    );
    let nic = &web["nics"]["lan"];
    assert_eq!((&nic["mac"], &nic["network"]), (mac, &"lab".into()));
    assert_eq!(nic["addresses"], serde_json::json!([address]), "{web:#}");
    assert_eq!(web["addresses"][0], *address, "{web:#}");

    let network = output(&onlooker, "lab");
    let leases = network["leases"].as_array().unwrap();
    assert_eq!(leases.len(), 1, "{network:#}");
    assert_eq!((&leases[0]["mac"], &leases[0]["address"]), (mac, address));
    assert_eq!(network["machines"], serde_json::json!(["theirs", "web"]));

    let theirs = output(&onlooker, "theirs");
    assert_eq!(
        (
            &theirs["owned"],
            &theirs["namespace"],
            &theirs["stage"],
            &theirs["labels"]
        ),
        (&false.into(), &Value::Null, &Value::Null, &Value::Null),
        "{theirs:#}"
    );
    assert_eq!(
        (&theirs["power"], &theirs["cpus"], &theirs["memory_mib"]),
        (&"stopped".into(), &3.into(), &96.into())
    );
    let nics: Vec<_> = theirs["nics"].as_object().unwrap().values().collect();
    assert_eq!(nics.len(), 1);
    assert_eq!(
        (&nics[0]["mac"], &nics[0]["network"]),
        (&"52:54:00:99:00:01".into(), &"lab".into())
    );
    assert_eq!(
        (&nics[0]["addresses"], &theirs["addresses"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );

    let seen = output(&onlooker, "lab1");
    assert_eq!(
        (
            &seen["machines"],
            &seen["machines_running"],
            &seen["machines_owned"]
        ),
        (&2.into(), &1.into(), &1.into())
    );

    // It is read anew: the guest goes, and what was read follows.
    host.observer().unwrap().pull_plug("web").unwrap();
    onlooker.applied(&config);
    assert_eq!(output(&onlooker, "web")["power"], "stopped");
    assert_eq!(output(&onlooker, "lab1")["machines_running"], 0);
    host.virsh(&["undefine", "theirs"]).unwrap();
    terraform.destroyed();
}
