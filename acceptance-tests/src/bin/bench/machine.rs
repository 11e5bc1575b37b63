//! What the figures were taken on.

use labyard_acceptance_tests::Host;
use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::error::Result;
use std::process::Command;

/// One line each.
pub fn describe(host: &Host) -> Result<Vec<String>> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let processor = value_of(&read("/proc/cpuinfo"), "model name", ':');
    let memory: u64 = value_of(&read("/proc/meminfo"), "MemTotal", ':')
        .split_whitespace()
        .next()
        .and_then(|kib| kib.parse().ok())
        .unwrap_or_default();
    let system = value_of(&read("/etc/os-release"), "PRETTY_NAME", '=');
    let terraform = output_of(Command::new(labyard_acceptance_tests::assets::terraform()).arg("version"))?;
    let versions = host.virsh(&["version"])?;
    Ok(vec![
        format!(
            "{cores} cores ({processor}), {:.0} GiB of memory",
            memory as f64 / 1048576.0
        ),
        format!(
            "{}, Linux {}",
            system.trim_matches('"'),
            // What follows the version names a build, which says nothing of what was measured.
            read("/proc/sys/kernel/osrelease")
                .split(['-', '\n'])
                .next()
                .unwrap_or_default()
        ),
        terraform.lines().next().unwrap_or_default().to_owned(),
        format!(
            "{}, {}",
            value_of(&versions, "Using library", ':'),
            value_of(&versions, "Running hypervisor", ':')
        ),
        "Guests run by emulation (`accelerator = \"qemu\"`), also where KVM is present.".to_owned(),
    ])
}

fn value_of(text: &str, key: &str, separator: char) -> String {
    let mut values = text.lines().filter_map(|line| line.split_once(separator));
    values
        .find(|(name, _)| name.trim() == key)
        .map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_key() {
        assert_eq!(value_of("A=1\nNAME=\"x\"\n", "NAME", '='), "\"x\"");
        assert_eq!(value_of("model name\t: Fast\n", "model name", ':'), "Fast");
        assert_eq!(value_of("", "model name", ':'), "unknown");
    }
}
