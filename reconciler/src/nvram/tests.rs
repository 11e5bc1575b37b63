use super::store::*;
use super::*;

/// A small file of the format, erased but for these variables' bytes.
fn file(room: usize, content: &[u8]) -> Vec<u8> {
    let mut file = vec![0u8; 72];
    file[16..32].copy_from_slice(&hex("8d2bf1ff96768b4ca9852747075b4f50"));
    file[40..44].copy_from_slice(b"_FVH");
    file[48..50].copy_from_slice(&72u16.to_le_bytes());
    file.extend(hex("782cf3aa7b949a43a1802e144ec37792"));
    file.extend(u32::try_from(28 + room).unwrap().to_le_bytes());
    file.extend(hex("5afe000000000000"));
    let mut store = content.to_vec();
    store.resize(room, 0xff);
    file.extend(store);
    file.extend(*b"work space");
    file
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |i| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn variable(name: &str, data: &[u8]) -> Variable {
    Variable {
        vendor: GLOBAL,
        name: name.to_owned(),
        attributes: 7,
        data: data.to_vec(),
        header_rest: Variable::NO_TIME,
    }
}

fn names(file: &[u8]) -> Vec<String> {
    Variables::parse(file)
        .unwrap()
        .live()
        .map(|v| v.name.clone())
        .collect()
}

/// The bytes that `virt-fw-vars` (virt-firmware 24.2) writes for a variable `Ab` of the global vendor with the
/// attributes 7 and the value 01 02 03.
const KNOWN: &str = "aa553f00070000000000000000000000000000000000000000000000000000000000000006000000\
    0300000061dfe48bca93d211aa0d00e098032b8c410062000000010203ffffff";

#[test]
fn a_variable_is_written_as_other_tools_write_it_and_read_back() {
    let mut variables = Variables::parse(&file(400, &[])).unwrap();
    variables.set(variable("Ab", &[1, 2, 3]));
    let written = variables.to_bytes().unwrap();
    assert_eq!(written[100..100 + 72], hex(KNOWN));
    assert!(written.ends_with(b"\xff\xffwork space"));
    assert_eq!(written.len(), file(400, &[]).len());
    let read = Variables::parse(&written).unwrap();
    assert_eq!(read.live().collect::<Vec<_>>(), [&variable("Ab", &[1, 2, 3])]);
}

#[test]
fn deleted_variables_do_not_count_and_one_in_deletion_does_until_the_new_one_is_whole() {
    let with_state = |state: u8| {
        let mut bytes = hex(KNOWN);
        bytes[2] = state;
        bytes
    };
    for (states, count) in [
        (&[0x3f][..], 1),
        (&[0x3d], 0),
        (&[0x3c], 0),
        (&[0x3e], 1),
        (&[0x3e, 0x3f], 1),
        (&[0x7f], 0),
    ] {
        let content: Vec<u8> = states.iter().flat_map(|state| with_state(*state)).collect();
        let parsed = Variables::parse(&file(400, &content)).unwrap();
        assert_eq!(parsed.live().count(), count, "{states:x?}");
    }
}

#[test]
fn certificates_are_put_in_exchanged_and_taken_out_and_the_guests_variables_stay() {
    let mut base = Variables::parse(&file(1000, &[])).unwrap();
    base.set(variable("Boot0001", b"entry"));
    let base = base.to_bytes().unwrap();
    let one = made_of(Source::Template(&base), &[vec![0x30, 1, 2]]).unwrap();
    let two = made_of(Source::Own(&one), &[vec![9], vec![8, 7]]).unwrap();
    assert_eq!(names(&two), ["Boot0001", "TlsCaCertificate"]);
    let parsed = Variables::parse(&two).unwrap();
    let tls = parsed.live().find(|v| v.name == "TlsCaCertificate").unwrap();
    assert_eq!(tls.data, signature_lists(&[vec![9], vec![8, 7]]));
    let none = made_of(Source::Own(&two), &[]).unwrap();
    assert_eq!(none, base);
}

#[test]
fn another_kind_of_variables_takes_over_boot_entries_and_nothing_else() {
    let with = |names: &[&str]| {
        let mut variables = Variables::parse(&file(2000, &[])).unwrap();
        names
            .iter()
            .for_each(|name| variables.set(variable(name, name.as_bytes())));
        variables.to_bytes().unwrap()
    };
    let template = with(&["PK", "db", "Boot0000"]);
    let own = with(&["Boot0000", "BootOrder", "Boot00zz", "Timeout", "PK"]);
    let source = Source::Changed {
        template: &template,
        own: &own,
    };
    let made = made_of(source, &[]).unwrap();
    assert_eq!(names(&made), ["PK", "db", "Boot0000", "BootOrder"]);
}

#[test]
fn a_signature_list_is_what_efitools_writes() {
    // cert-to-efi-sig-list writes these bytes for the DER of two bytes, but for the owner.
    let list = signature_lists(&[vec![0xab, 0xcd]]);
    let known = format!(
        "a159c0a5e494a74a87b5ab155c2bf072{}{}{}",
        "2e000000", "00000000", "12000000"
    );
    assert_eq!(list[..28], hex(&known));
    assert_eq!(list[28..44], OWNER.to_bytes());
    assert_eq!(list[44..], [0xab, 0xcd]);
}

#[test]
fn what_is_no_store_or_has_no_room_is_said() {
    let cut = &file(400, &[])[..90];
    assert_eq!(Variables::parse(cut).unwrap_err(), StoreError::Damaged(88));
    let other = vec![0; 600];
    assert!(matches!(Variables::parse(&other), Err(StoreError::Format(_))));
    let full = made_of(Source::Template(&file(100, &[])), &[vec![0; 200]]).unwrap_err();
    assert!(matches!(full, StoreError::Full { room: 100, .. }), "{full}");
    let mut broken = hex(KNOWN);
    broken[36..40].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(
        Variables::parse(&file(400, &broken)),
        Err(StoreError::Damaged(_))
    ));
}
