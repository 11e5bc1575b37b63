//! Vectors worked out by hand from RFC 4506, round trips, and arbitrary input.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::event::Event;
use crate::model::*;
use crate::server_error::ServerError;

fn encoded<T: Encode + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Encoder::new();
    value.encode(&mut out).unwrap();
    out.into_bytes()
}

/// Words and bytes written out one after the other.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[test]
fn numbers_are_big_endian_words() {
    assert_eq!(encoded(&-1i32), [0xff; 4]);
    assert_eq!(encoded(&0x0102_0304_0506_0708u64), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(encoded(&true), [0, 0, 0, 1]);
    assert_eq!(encoded(&1.0f64), [0x3f, 0xf0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn texts_carry_their_length_and_are_padded_to_words() {
    assert_eq!(encoded("sillyprog"), *b"\0\0\0\x09sillyprog\0\0\0");
    assert_eq!(encoded(""), [0; 4]);
    assert_eq!(encoded(&Some("abcd")), *b"\0\0\0\x01\0\0\0\x04abcd");
    assert_eq!(encoded(&None::<&str>), [0; 4]);
}

#[test]
fn lists_carry_their_length() {
    assert_eq!(encoded(&vec![1u32, 2]), words(&[2, 1, 2]));
    assert_eq!(Decoder::whole::<Vec<u32>>(&words(&[2, 1, 2])), Ok(vec![1, 2]));
}

#[test]
fn a_stopped_domain_travels_with_the_id_minus_one() {
    let domain = DomainRef::new("vm", Uuid::from_bytes([7; 16]));
    let mut bytes = b"\0\0\0\x02vm\0\0".to_vec();
    bytes.extend([7; 16]);
    bytes.extend([0xff; 4]);
    assert_eq!(encoded(&domain), bytes);
    assert_eq!(Decoder::whole(&bytes), Ok(domain));
}

#[test]
fn a_volume_travels_as_pool_name_and_key() {
    let volume = VolRef {
        pool: "p".into(),
        name: "n".into(),
        key: "/k".into(),
    };
    assert_eq!(
        encoded(&volume),
        *b"\0\0\0\x01p\0\0\0\0\0\0\x01n\0\0\0\0\0\0\x02/k\0\0"
    );
}

#[test]
fn a_domain_info_has_its_small_numbers_in_whole_words() {
    let info: DomainInfo = Decoder::whole(&words(&[5, 0, 2048, 0, 1024, 3, 0, 9])).unwrap();
    let expected = DomainInfo {
        state: DomainState::Shutoff,
        max_memory_kib: 2048,
        memory_kib: 1024,
        vcpus: 3,
        cpu_time_ns: 9,
    };
    assert_eq!(info, expected);
}

#[test]
fn a_node_info_has_each_character_of_its_model_in_a_word() {
    let mut model: Vec<u32> = b"x86_64".iter().map(|byte| u32::from(*byte)).collect();
    model.resize(32, 0);
    model.extend([0, 4096, 2, 3000, 1, 1, 2, 1]);
    let info: NodeInfo = Decoder::whole(&words(&model)).unwrap();
    assert_eq!(
        (info.model.as_str(), info.memory_kib, info.cpus, info.threads),
        ("x86_64", 4096, 2, 1)
    );
}

#[test]
fn an_error_keeps_all_its_fields() {
    let mut bytes = words(&[38, 18, 1, 3]);
    bytes.extend(*b"no!\0");
    bytes.extend(words(&[2, 0, 1, 1]));
    bytes.extend(*b"a\0\0\0");
    bytes.extend(words(&[0, 0, 28, u32::MAX, 0]));
    let error: ServerError = Decoder::whole(&bytes).unwrap();
    assert_eq!(
        (error.code.raw(), error.domain.raw(), error.level.raw()),
        (38, 18, 2)
    );
    assert_eq!(
        (error.message.as_str(), error.str1.as_deref(), error.str2),
        ("no!", Some("a"), None)
    );
    assert_eq!((error.int1, error.int2), (28, -1));
}

#[test]
fn what_the_peer_would_refuse_is_not_encoded() {
    let refused = |value: &str| value.encode(&mut Encoder::new()).unwrap_err();
    assert_eq!(refused("a\0b"), EncodeError::ZeroByte { position: 1 });
    let length = STRING_MAX + 1;
    assert_eq!(
        refused(&"x".repeat(length)),
        EncodeError::StringTooLong { length }
    );
    assert!(
        "x".repeat(STRING_MAX)
            .as_str()
            .encode(&mut Encoder::new())
            .is_ok()
    );
    let length = LIST_MAX + 1;
    let list = vec![0u32; length].encode(&mut Encoder::new());
    assert_eq!(list, Err(EncodeError::ListTooLong { length }));
}

#[test]
fn a_length_alone_allocates_nothing() {
    assert!(matches!(
        Decoder::whole::<Vec<DomainStats>>(&words(&[262_144])),
        Err(DecodeError::Truncated { .. })
    ));
    let length = LIST_MAX + 1;
    let claim = words(&[u32::try_from(length).unwrap()]);
    assert_eq!(
        Decoder::whole::<Vec<u32>>(&claim),
        Err(DecodeError::ListTooLong { length })
    );
    let claim = words(&[u32::MAX]);
    assert_eq!(
        Decoder::whole::<String>(&claim),
        Err(DecodeError::StringTooLong {
            length: u32::MAX as usize
        })
    );
}

#[test]
fn leftovers_and_odd_marks_are_refused() {
    assert_eq!(
        Decoder::whole::<u32>(&words(&[1, 2])),
        Err(DecodeError::Trailing { extra: 4 })
    );
    let odd = Decoder::whole::<Option<u32>>(&words(&[2, 2]));
    assert_eq!(
        odd,
        Err(DecodeError::Invalid {
            what: "presence mark",
            value: 2
        })
    );
}

#[test]
fn a_text_that_is_not_utf8_becomes_readable() {
    assert_eq!(
        Decoder::whole::<String>(b"\0\0\0\x02a\xff\0\0"),
        Ok("a\u{fffd}".to_owned())
    );
}

fn text() -> impl Strategy<Value = String> {
    "[^\0]{0,40}"
}

fn domain() -> impl Strategy<Value = DomainRef> {
    (
        text(),
        any::<[u8; 16]>(),
        proptest::option::of(0..i32::MAX as u32),
    )
        .prop_map(|(name, uuid, id)| DomainRef {
            name,
            uuid: Uuid::from_bytes(uuid),
            id: DomainId(id),
        })
}

fn value() -> impl Strategy<Value = TypedValue> {
    prop_oneof![
        any::<i32>().prop_map(TypedValue::Int),
        any::<u32>().prop_map(TypedValue::UInt),
        any::<i64>().prop_map(TypedValue::Long),
        any::<u64>().prop_map(TypedValue::ULong),
        (-1e300..1e300f64).prop_map(TypedValue::Double),
        any::<bool>().prop_map(TypedValue::Bool),
        text().prop_map(TypedValue::Text),
    ]
}

fn stats() -> impl Strategy<Value = Vec<DomainStats>> {
    let param = (text(), value()).prop_map(|(field, value)| TypedParam { field, value });
    let record = (domain(), proptest::collection::vec(param, 0..6));
    proptest::collection::vec(
        record.prop_map(|(domain, params)| DomainStats { domain, params }),
        0..5,
    )
}

fn lease() -> impl Strategy<Value = DhcpLease> {
    let optional = || proptest::option::of(text());
    (
        text(),
        any::<i64>(),
        any::<i32>(),
        text(),
        any::<u32>(),
        [optional(), optional(), optional(), optional()],
    )
        .prop_map(
            |(interface, expiry, family, address, prefix, [mac, iaid, hostname, client_id])| DhcpLease {
                interface,
                expiry,
                family: IpFamily::from_raw(family),
                mac,
                iaid,
                address,
                prefix,
                hostname,
                client_id,
            },
        )
}

proptest! {
    #[test]
    fn statistics_survive_the_wire(stats in stats()) {
        prop_assert_eq!(Decoder::whole::<Vec<DomainStats>>(&encoded(&stats)), Ok(stats));
    }

    #[test]
    fn leases_survive_the_wire(leases in proptest::collection::vec(lease(), 0..4), count: u32) {
        let bytes = encoded(&(leases.clone(), count));
        prop_assert_eq!(Decoder::whole::<(Vec<DhcpLease>, u32)>(&bytes), Ok((leases, count)));
    }

    #[test]
    fn every_encoding_is_made_of_whole_words(stats in stats()) {
        prop_assert_eq!(encoded(&stats).len() % 4, 0);
    }

    #[test]
    fn a_message_cut_short_is_an_error(stats in stats(), cut in 1usize..64) {
        let bytes = encoded(&stats);
        let kept = bytes.len().saturating_sub(cut);
        prop_assert!(Decoder::whole::<Vec<DomainStats>>(&bytes[..kept]).is_err());
    }

    #[test]
    fn no_input_makes_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), procedure in 310..380i32) {
        decode_as_everything(&bytes, procedure);
    }

    #[test]
    fn no_change_to_a_message_makes_a_decoder_panic(
        stats in stats(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        procedure in 310..380i32,
    ) {
        let mut bytes = encoded(&stats);
        for (index, byte) in flips {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        decode_as_everything(&bytes, procedure);
    }
}

fn decode_as_everything(bytes: &[u8], procedure: i32) {
    let _ = Decoder::whole::<Vec<DomainStats>>(bytes);
    let _ = Decoder::whole::<(Vec<DomainRef>, u32)>(bytes);
    let _ = Decoder::whole::<(Vec<DhcpLease>, u32)>(bytes);
    let _ = Decoder::whole::<(Vec<VolRef>, u32)>(bytes);
    let _ = Decoder::whole::<Vec<InterfaceAddresses>>(bytes);
    let _ = Decoder::whole::<(DomainInfo, NodeInfo, PoolInfo, VolInfo)>(bytes);
    let _ = Decoder::whole::<ServerError>(bytes);
    let _ = Decoder::whole::<Option<String>>(bytes);
    let _ = Event::decode(procedure, bytes);
}
