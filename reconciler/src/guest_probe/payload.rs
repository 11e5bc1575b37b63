//! The boot sector, instruction by instruction.
//!
//! Machine code is written out with its meaning beside it: 200 bytes do not need an assembler in everybody's
//! build. Addresses follow from the fixed places below, jumps over modes from where the code has got to.
//! Encodings are those of the AMD64 Architecture Programmer's Manual, volume 3.

use super::{MAGIC, Reached, letter};

/// Where firmware puts the sector and jumps to.
const ORIGIN: usize = 0x7c00;
const SECTOR: usize = 512;

/// Places in the sector, behind the code.
const INTERRUPT_HANDLER: usize = 0x160;
const IDT_POINTER: usize = 0x170;
const GDT_POINTER: usize = 0x180;
const GDT: usize = 0x188;
const TEXT: usize = 0x1b0;
const SIGNATURE: usize = 0x1fe;

/// Segments, as offsets into the GDT below.
const CODE_32: u8 = 0x08;
const DATA: u8 = 0x10;
const CODE_64: u8 = 0x18;

/// Turns of the loop: far more than emulation manages in the seconds a probe may take, nothing to a processor.
const TURNS: u32 = 100_000_000;

/// A null entry, then flat segments over all memory: 32-bit code, data, 64-bit code.
const SEGMENTS: [u64; 4] = [
    0,
    0x00cf_9a00_0000_ffff,
    0x00cf_9200_0000_ffff,
    0x00af_9a00_0000_ffff,
];

/// The whole sector.
pub(super) fn boot_sector() -> [u8; SECTOR] {
    let mut code = real_mode();
    code.extend(protected_mode(code.len()));
    code.extend(long_mode());
    code.extend(vector_unit());
    code.extend(timer_interrupt());
    code.extend(speed());
    code.extend(say_the_magic());

    let mut sector = [0; SECTOR];
    // Checked by a test: the code ends before the first fixed place, the text before the signature.
    put(&mut sector, 0, &code);
    put(&mut sector, INTERRUPT_HANDLER, &interrupt_handler());
    put(
        &mut sector,
        IDT_POINTER,
        &[0x8f, 0x00, 0x00, 0x60, 0, 0, 0, 0, 0, 0],
    ); // entries 0 to 8, at 0x6000
    put(
        &mut sector,
        GDT_POINTER,
        &[&[0x1f, 0x00][..], &address32(GDT)].concat(),
    );
    put(&mut sector, GDT, &SEGMENTS.map(u64::to_le_bytes).concat());
    put(&mut sector, TEXT, MAGIC);
    put(&mut sector, SIGNATURE, &[0x55, 0xaa]);
    sector
}

fn put(sector: &mut [u8], at: usize, bytes: &[u8]) {
    sector[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The address of a place in the sector, low byte first.
fn address32(place: usize) -> [u8; 4] {
    ((ORIGIN + place) as u32).to_le_bytes()
}

fn address16(place: usize) -> [u8; 2] {
    let [low, high, ..] = address32(place);
    [low, high]
}

/// `mov al, letter; out dx, al`, the same bytes in every mode; dx holds COM1.
fn say(step: Reached) -> [u8; 3] {
    [0xb0, letter(step), 0xee]
}

/// As the firmware leaves it, up to the jump into 32-bit code.
fn real_mode() -> Vec<u8> {
    let mut code = vec![
        0xfa, // cli
        0xfc, // cld
        0x31, 0xc0, // xor ax, ax
        0x8e, 0xd8, // mov ds, ax
        0x8e, 0xc0, // mov es, ax
        0x8e, 0xd0, // mov ss, ax
        0xbc, 0x00, 0x7c, // mov sp, 0x7c00
        0xba, 0xf8, 0x03, // mov dx, 0x3f8: COM1
    ];
    code.extend(say(Reached::RealMode));
    code.extend([0x0f, 0x01, 0x16]); // lgdt [GDT_POINTER]
    code.extend(address16(GDT_POINTER));
    code.extend([
        0x0f, 0x20, 0xc0, // mov eax, cr0
        0x0c, 0x01, // or al, 1: PE
        0x0f, 0x22, 0xc0, // mov cr0, eax
    ]);
    let next = code.len() + 5;
    code.push(0xea); // jmp CODE_32:next
    code.extend(address16(next));
    code.extend([CODE_32, 0x00]);
    code
}

/// 32 bits: page tables for the first 2 MiB, then paging and long mode together. `at` is where this code stands.
fn protected_mode(at: usize) -> Vec<u8> {
    let mut code = vec![
        0x66, 0xb8, DATA, 0x00, // mov ax, DATA
        0x8e, 0xd8, // mov ds, ax
        0x8e, 0xc0, // mov es, ax
        0x8e, 0xd0, // mov ss, ax
    ];
    code.extend(say(Reached::ProtectedMode));
    code.extend([
        0xbf, 0x00, 0x10, 0x00, 0x00, // mov edi, 0x1000
        0x31, 0xc0, // xor eax, eax
        0xb9, 0x00, 0x18, 0x00, 0x00, // mov ecx, 0x1800
        0xf3, 0xab, // rep stosd: 0x1000 to 0x6fff are zero
        0xc7, 0x05, 0x00, 0x10, 0x00, 0x00, 0x03, 0x20, 0x00, 0x00, // mov dword [0x1000], 0x2003: PML4
        0xc7, 0x05, 0x00, 0x20, 0x00, 0x00, 0x03, 0x30, 0x00, 0x00, // mov dword [0x2000], 0x3003: PDPT
        0xc7, 0x05, 0x00, 0x30, 0x00, 0x00, 0x83, 0x00, 0x00,
        0x00, // mov dword [0x3000], 0x83: one page of 2 MiB
        0x0f, 0x20, 0xe0, // mov eax, cr4
        0x0d, 0x20, 0x06, 0x00, 0x00, // or eax, 0x620: PAE, OSFXSR, OSXMMEXCPT
        0x0f, 0x22, 0xe0, // mov cr4, eax
        0xb8, 0x00, 0x10, 0x00, 0x00, // mov eax, 0x1000
        0x0f, 0x22, 0xd8, // mov cr3, eax
        0xb9, 0x80, 0x00, 0x00, 0xc0, // mov ecx, 0xc0000080: EFER
        0x0f, 0x32, // rdmsr
        0x0d, 0x00, 0x01, 0x00, 0x00, // or eax, 0x100: LME
        0x0f, 0x30, // wrmsr
        0x0f, 0x20, 0xc0, // mov eax, cr0
        0x83, 0xe0, 0xfb, // and eax, ~4: not EM
        0x0d, 0x02, 0x00, 0x00, 0x80, // or eax, 0x80000002: PG, MP
        0x0f, 0x22, 0xc0, // mov cr0, eax
    ]);
    let next = at + code.len() + 7;
    code.push(0xea); // jmp CODE_64:next
    code.extend(address32(next));
    code.extend([CODE_64, 0x00]);
    code
}

/// 64 bits.
fn long_mode() -> Vec<u8> {
    let mut code = vec![
        0xbc, 0x00, 0x7c, 0x00, 0x00, // mov esp, 0x7c00
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
    ];
    code.extend(say(Reached::LongMode));
    code
}

/// 0 + (-1) + 1 by SSE2, which every 64-bit processor has; a wrong result goes no further.
fn vector_unit() -> Vec<u8> {
    let mut code = vec![
        0x66, 0x0f, 0xef, 0xc0, // pxor xmm0, xmm0
        0x66, 0x0f, 0x76, 0xc9, // pcmpeqd xmm1, xmm1
        0x66, 0x0f, 0xfe, 0xc1, // paddd xmm0, xmm1
        0x66, 0x0f, 0x7e, 0xc0, // movd eax, xmm0
        0xff, 0xc0, // inc eax
        0x75, 0xfe, // jnz to itself
    ];
    code.extend(say(Reached::VectorUnit));
    code
}

/// Sleeps until the timer wakes it: the firmware left the PIT running, on vector 8.
fn timer_interrupt() -> Vec<u8> {
    let mut code = vec![0xc7, 0x04, 0x25, 0x80, 0x60, 0x00, 0x00]; // mov dword [0x6080], …: entry 8 of the IDT
    code.extend(address16(INTERRUPT_HANDLER)); // … offset
    code.extend([CODE_64, 0x00]); // … segment
    code.extend([
        0xc7, 0x04, 0x25, 0x84, 0x60, 0x00, 0x00, // mov dword [0x6084],
        0x00, 0x8e, 0x00, 0x00, // … present, interrupt gate
        0x0f, 0x01, 0x1c, 0x25, // lidt [IDT_POINTER]
    ]);
    code.extend(address32(IDT_POINTER));
    code.extend([
        0xb0, 0xff, // mov al, 0xff
        0xe6, 0xa1, // out 0xa1, al: nothing from the second interrupt controller,
        0xb0, 0xfe, // mov al, 0xfe
        0xe6, 0x21, // out 0x21, al: and from the first only the timer
        0xfb, // sti
        0xf4, // hlt
        0xfa, // cli
    ]);
    code.extend(say(Reached::TimerInterrupt));
    code
}

fn interrupt_handler() -> [u8; 8] {
    [
        0x50, // push rax
        0xb0, 0x20, // mov al, 0x20
        0xe6, 0x20, // out 0x20, al: end of interrupt
        0x58, // pop rax
        0x48, 0xcf, // iretq
    ]
}

/// Many turns of nothing.
fn speed() -> Vec<u8> {
    let mut code = vec![0xb9]; // mov ecx, TURNS
    code.extend(TURNS.to_le_bytes());
    code.extend([
        0xff, 0xc9, // turn: dec ecx
        0x75, 0xfc, // jnz turn
    ]);
    code
}

/// Writes the text, waiting for the port before each byte, and stops for good.
fn say_the_magic() -> Vec<u8> {
    let mut code = vec![0xbe]; // mov esi, TEXT
    code.extend(address32(TEXT));
    code.extend([0xb9, MAGIC.len() as u8, 0x00, 0x00, 0x00]); // mov ecx, length
    code.extend([
        0x66, 0xba, 0xfd, 0x03, // next: mov dx, 0x3fd: line status
        0xec, // wait: in al, dx
        0xa8, 0x20, // test al, 0x20: room for a byte
        0x74, 0xfb, // jz wait
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xac, // lodsb
        0xee, // out dx, al
        0xff, 0xc9, // dec ecx
        0x75, 0xed, // jnz next
        0xfa, // stop: cli
        0xf4, // hlt
        0xeb, 0xfc, // jmp stop
    ]);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_the_sector_runs_into_the_next() {
        let code = real_mode().len() + protected_mode(0).len() + long_mode().len() + vector_unit().len();
        let code = code + timer_interrupt().len() + speed().len() + say_the_magic().len();
        let parts = [
            (0, code),
            (INTERRUPT_HANDLER, interrupt_handler().len()),
            (IDT_POINTER, 10),
            (GDT_POINTER, 6),
            (GDT, 32),
            (TEXT, MAGIC.len()),
            (SIGNATURE, 2),
        ];
        for pair in parts.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:x?}");
        }
    }
}
