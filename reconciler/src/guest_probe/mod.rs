//! Does KVM on a host really run guests? A tiny disk that a guest boots from, and what its console tells.
//!
//! `/dev/kvm` may be there, libvirt may offer the domain type, firmware may come up, and a guest may still be
//! as good as dead: where the host is itself a guest, its KVM may carry code of ours only by emulating it,
//! instruction by instruction. Whether an accelerator is worth choosing is therefore found out by running
//! something on it. The payload goes where a kernel goes on its first steps and leaves a letter on the serial
//! port (COM1) after each; only at the end it writes [`MAGIC`]. It decides by three things at once: that all of
//! it works, that vector instructions work, and that a hundred million steps do not take minutes.
//!
//! # What was measured
//! QEMU 10.0 on a machine with KVM in name only (module `kvm_pvm`, whose own guests must be paravirtual), `pc` and
//! `q35` alike. Seconds; the first line from the start of QEMU, the others from the step before.
//!
//! | step | TCG | this KVM |
//! |---|---|---|
//! | firmware done, first letter | 0.1–0.4 | 2.7–7.9 |
//! | real mode, protected mode, paging, long mode | 0.00 | 0.00 |
//! | `cpuid`, `rdtsc`, `rdmsr`, `wrmsr`, `invlpg`, `wbinvd`, `swapgs`, `fxsave`, multiplication | 0.00 | 0.00 |
//! | `sti; hlt` until the timer's interrupt | 0.1 | passes |
//! | copying 128 KiB by `rep movsb` | 0.00 | 0.14 |
//! | x87 (`fld1`), SSE2 (`pxor`) | 0.00 | never: "KVM internal error. Suberror: 1" (emulation failure), the guest is paused |
//! | a loop of 1 million turns | 0.01 | 1.3 |
//! | of 10 million | 0.06 | not within 8 |
//! | of 100 million | 0.5 | not within 57 |
//! | Debian's cloud kernel 6.1 | boots | after 90 still in its decompressor: running, long mode, paging on |
//!
//! So neither a mode nor paging nor an interrupt tells: a payload that ended there would call this host good. The
//! kernel's hang is its decompressor at about a million instructions a second. What tells is the vector unit (at
//! once) and time: a hundred million turns take well under a second where a processor runs them, and under TCG,
//! but minutes here. With the vector unit left out, the payload stays in its loop. This payload: TCG 0.6–0.9 from
//! start to end; this KVM says `rpl` after 3–4 and nothing more.
//!
//! # How to repeat it
//! ```text
//! cargo run -p labyard-reconciler --example guest_probe_image -- /tmp/probe.img
//! timeout 10 qemu-system-x86_64 -accel kvm -m 64 -nodefaults -display none -no-reboot \
//!     -serial stdio -drive file=/tmp/probe.img,format=raw
//! ```
//! It prints `rplsilabyard-probe-ok` where guests run, and a beginning of that where they do not.

mod payload;

/// What a guest writes to its first serial port when everything worked.
pub const MAGIC: &[u8] = b"labyard-probe-ok";

/// SeaBIOS does not boot from a disk of a single sector on an AHCI bus (`q35`); this much it takes anywhere.
const IMAGE_LENGTH: usize = 1 << 20;

/// Memory that the guest needs, in MiB.
pub const MEMORY_MIB: u64 = 64;

/// How far a guest came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// It never said anything: not even the firmware came to its end.
    Nothing,
    /// The boot sector runs.
    RealMode,
    /// 32 bits.
    ProtectedMode,
    /// 64 bits, with paging.
    LongMode,
    /// Vector instructions give the right result.
    VectorUnit,
    /// The timer interrupts it, and it goes on; what is missing is speed.
    TimerInterrupt,
    /// [`MAGIC`]: this accelerator runs guests.
    End,
}

/// The steps with the letters that the guest writes after each.
const LETTERS: [(u8, Reached); 5] = [
    (b'r', Reached::RealMode),
    (b'p', Reached::ProtectedMode),
    (b'l', Reached::LongMode),
    (b's', Reached::VectorUnit),
    (b'i', Reached::TimerInterrupt),
];

/// A raw disk image to boot from by BIOS.
pub fn boot_image() -> Vec<u8> {
    let mut image = payload::boot_sector().to_vec();
    image.resize(IMAGE_LENGTH, 0);
    image
}

/// Reads a guest's console so far.
pub fn reached(console: &[u8]) -> Reached {
    if console.windows(MAGIC.len()).any(|window| window == MAGIC) {
        return Reached::End;
    }
    // A guest that resets starts again from the first letter: what counts is the furthest it ever came. The
    // letters are looked for in their order, as the magic's own beginning holds some of them too.
    let mut furthest = Reached::Nothing;
    let mut expected = LETTERS.iter();
    let mut next = expected.next();
    for byte in console {
        if let Some((_, reached)) = next.filter(|(letter, _)| letter == byte) {
            furthest = *reached;
            next = expected.next();
        }
    }
    furthest
}

/// The letter that stands for a step.
fn letter(step: Reached) -> u8 {
    LETTERS
        .iter()
        .find(|(_, reached)| *reached == step)
        .map_or(b'?', |(letter, _)| *letter)
}

#[cfg(test)]
mod tests;
