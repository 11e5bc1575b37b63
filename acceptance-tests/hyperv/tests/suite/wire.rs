//! The wire itself: what is in answers, and what is refused.

use labyard_hyperv_double::wire::{Rights, Unencrypted, User};

use crate::raw::{
    ENUMERATION, PASSWORD, TRANSFER, USER, WMI, ask, ask_as, between, enumerate, envelope, fault, open, pull,
    selectors, with, wql,
};
use crate::shelf::{FIRST, NETWORK, SERVICE, V2};

const MACHINES: &str = "root/virtualization/v2/Msvm_ComputerSystem";
const ALL: &str = "root/virtualization/v2/*";

#[tokio::test(flavor = "multi_thread")]
async fn without_optimisation_rows_come_one_a_pull_and_the_last_has_no_context() {
    let server = open(1).await;
    let answer = ask(&server, &enumerate(MACHINES, "")).await;
    let context = between(&answer.body, "<n:EnumerationContext>", "<")
        .unwrap()
        .to_owned();
    assert!(
        context.starts_with("uuid:") && !answer.body.contains("Items"),
        "{}",
        answer.body
    );
    // The class, and all classes, are in use in a Pull.
    let first = ask(&server, &pull(ALL, &context, "")).await;
    assert_eq!(first.body.matches("<p:Msvm_ComputerSystem ").count(), 1);
    assert!(first.body.contains("<n:EnumerationContext>uuid:") && first.body.contains("<n:Items>"));
    let last = ask(&server, &pull(MACHINES, &context, "")).await;
    assert!(
        last.body.contains("<n:EndOfSequence/>") && !last.body.contains("EnumerationContext"),
        "{}",
        last.body
    );
    let gone = ask(&server, &pull(MACHINES, &context, "")).await;
    assert_eq!(
        fault(&gone),
        ("n:InvalidEnumerationContext".into(), 2_150_858_779)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_as_windows_writes_it() {
    let server = open(1).await;
    let body = ask(
        &server,
        &wql(
            V2,
            &format!("SELECT * FROM Msvm_ComputerSystem WHERE Name = '{FIRST}'"),
        ),
    )
    .await
    .body;
    let head = format!(
        "<p:Msvm_ComputerSystem xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:p=\"{WMI}{MACHINES}\""
    );
    assert!(
        body.contains(&head) && body.contains("xsi:type=\"p:Msvm_ComputerSystem_Type\""),
        "{body}"
    );
    for part in [
        "<p:Caption xsi:nil=\"true\"/>",
        "<p:ElementName>web-01</p:ElementName>",
        "<p:OperationalStatus>2</p:OperationalStatus><p:OperationalStatus>5</p:OperationalStatus>",
        "<p:TimeOfLastStateChange><cim:Datetime>2026-10-08T15:15:36.68424Z</cim:Datetime></p:TimeOfLastStateChange>",
        "<w:EndOfSequence/>",
    ] {
        assert!(body.contains(part), "no {part} in {body}");
    }
    assert!(!body.contains("<p:Roles"), "an empty array is absent");
    let row = between(&body, "<w:Items>", "</w:Items>").unwrap();
    let names: Vec<_> = row
        .split("<p:")
        .skip(2)
        .map(|part| part.split(['>', ' ', '/']).next().unwrap().to_lowercase())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_what_was_asked_for_and_what_fits() {
    let server = open(40).await;
    let first = ask(
        &server,
        &enumerate(
            MACHINES,
            "<w:OptimizeEnumeration/><w:MaxElements>7</w:MaxElements>",
        ),
    )
    .await
    .body;
    assert_eq!(first.matches("<p:Msvm_ComputerSystem ").count(), 7);
    let context = between(&first, "<n:EnumerationContext>", "<").unwrap().to_owned();
    let mut seen = 7;
    let small = "<w:MaxEnvelopeSize>8192</w:MaxEnvelopeSize>";
    loop {
        let body = format!(
            "<n:Pull><n:EnumerationContext>{context}</n:EnumerationContext><n:MaxElements>1000</n:MaxElements></n:Pull>"
        );
        let page = ask(
            &server,
            &envelope(
                &format!("{ENUMERATION}/Pull"),
                &format!("{WMI}{MACHINES}"),
                small,
                &body,
            ),
        )
        .await
        .body;
        assert!(page.len() <= 8192, "{}", page.len());
        let rows = page.matches("<p:Msvm_ComputerSystem ").count();
        assert!(rows >= 1, "{page}");
        seen += rows;
        if page.contains("EndOfSequence") {
            break;
        }
    }
    assert_eq!(seen, 41);
    assert!(server.count("Pull") > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn references_come_alone_or_with_their_objects() {
    let server = open(0).await;
    let mode = |mode: &str| {
        let inside = format!(
            "<w:OptimizeEnumeration/><w:MaxElements>9</w:MaxElements><w:EnumerationMode>{mode}</w:EnumerationMode>"
        );
        enumerate(MACHINES, &inside)
    };
    let references = ask(&server, &mode("EnumerateEPR")).await.body;
    assert!(
        references.contains("<w:Items><a:EndpointReference><a:Address>"),
        "{references}"
    );
    assert!(references.contains("<w:Selector Name=\"Name\">HV7</w:Selector>"));
    assert!(!references.contains("__cimnamespace") && !references.contains("<p:Msvm"));
    let both = ask(&server, &mode("EnumerateObjectAndEPR")).await.body;
    assert!(
        both.contains("<w:Item><p:Msvm_ComputerSystem ")
            && both.contains("</p:Msvm_ComputerSystem><a:EndpointReference>")
    );
    let unknown = ask(&server, &mode("EnumerateDreams")).await;
    assert_eq!(fault(&unknown).0, "w:UnsupportedFeature");
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_find_project_and_follow_associations() {
    let server = open(12).await;
    let rows = async |query: &str| {
        let answer = ask(&server, &wql(V2, query)).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        answer.body
    };
    let machines = "SELECT * FROM Msvm_ComputerSystem WHERE";
    for (query, count) in [
        (format!("{machines} Name != __SERVER"), 12),
        (format!("{machines} Name = '{}'", FIRST.to_lowercase()), 1),
        (
            format!("{machines} ElementName LIKE 'web-_1' OR ElementName = 'web-07'"),
            3,
        ),
        (format!("{machines} NOT (EnabledState = 3) AND Name <> 'x'"), 0),
        ("SELECT * FROM CIM_ComputerSystem".to_owned(), 13),
        (
            format!(
                "ASSOCIATORS OF {{Msvm_ComputerSystem.CreationClassName='Msvm_ComputerSystem',Name='{FIRST}'}} \
                 WHERE AssocClass = Msvm_SettingsDefineState ResultClass = Msvm_VirtualSystemSettingData"
            ),
            1,
        ),
    ] {
        let body = rows(&query).await;
        assert_eq!(body.matches("xsi:type=\"p:").count(), count, "{query}: {body}");
    }
    let interval = rows(
        "ASSOCIATORS OF {Msvm_ComputerSystem.CreationClassName=\"Msvm_ComputerSystem\",Name=\"x\"} WHERE \
                         AssocClass = Msvm_SettingsDefineState ResultClass = CIM_VirtualSystemSettingData",
    )
    .await;
    assert!(
        interval.contains("<cim:Interval>P0DT0H45M0S</cim:Interval>"),
        "{interval}"
    );
    let projected =
        rows("SELECT ElementName, Name, InstallDate FROM Msvm_ComputerSystem WHERE Name = __SERVER").await;
    assert!(
        projected.contains(
            "<w:XmlFragment xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><ElementName>HV7</ElementName>\
             <InstallDate><Datetime>1601-01-01T00:00:00Z</Datetime></InstallDate><Name>HV7</Name></w:XmlFragment>"
        ),
        "{projected}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_processed_is_refused_with_one_number() {
    let server = open(1).await;
    let filter = "<w:Filter Dialect='http://schemas.microsoft.com/wbem/wsman/1/WQL'>SELECT * FROM Msvm_ComputerSystem</w:Filter>";
    for request in [
        enumerate(MACHINES, filter),
        enumerate(ALL, ""),
        wql("root/nowhere", "SELECT * FROM C"),
        wql("root/microsoft/windows/hgs", "SELECT * FROM MSFT_HgsGuardian"),
        wql(V2, "SELECT * FROM Msvm_Teapot"),
        wql(V2, "SELECT Colour FROM Msvm_ComputerSystem"),
        wql(V2, "SELECT * FROM Msvm_ComputerSystem WHERE Colour = 1"),
        wql(V2, "SELECT * FROM Msvm_ComputerSystem WHERE"),
        wql(V2, "ASSOCIATORS OF {Msvm_ComputerSystem.Name='x'}"),
    ] {
        let answer = ask(&server, &request).await;
        let wanted = ("n:CannotProcessFilter".to_owned(), 2_150_858_778);
        assert_eq!(
            (answer.status, fault(&answer)),
            (500, wanted),
            "{request}\n{}",
            answer.body
        );
    }
    let dialect = enumerate(ALL, "<w:Filter Dialect='u'>x</w:Filter>");
    assert_eq!(fault(&ask(&server, &dialect).await).1, 2_150_858_777);
}

#[tokio::test(flavor = "multi_thread")]
async fn get_takes_all_keys_and_no_others() {
    let server = open(1).await;
    let get = |resource: &str, headers: &str| {
        envelope(
            &format!("{TRANSFER}/Get"),
            &format!("{WMI}{resource}"),
            headers,
            "",
        )
    };
    let both = [
        ("CreationClassName", "Msvm_ComputerSystem"),
        ("Name", &*FIRST.to_lowercase()),
    ];
    let found = ask(&server, &get(&format!("{MACHINES} "), &selectors(&both))).await;
    assert!(
        found.status == 200 && found.body.contains("<p:ElementName>web-01<"),
        "{}",
        found.body
    );
    let name = selectors(&both[1..]);
    let colour = selectors(&[both[0], both[1], ("Colour", "green")]);
    let space = selectors(&[both[0], both[1], ("__cimnamespace", V2)]);
    let other = selectors(&[both[0], ("Name", "x")]);
    for (resource, headers, wanted) in [
        (MACHINES, &name, ("a:DestinationUnreachable", 2_150_858_752)),
        (MACHINES, &String::new(), ("w:InvalidSelectors", 2_150_859_002)),
        (MACHINES, &colour, ("w:InvalidSelectors", 2_150_858_813)),
        (MACHINES, &space, ("w:InvalidSelectors", 2_150_859_067)),
        (MACHINES, &other, ("a:DestinationUnreachable", 0x8004_1002)),
        (
            "root/virtualization/v2/Msvm_Teapot",
            &name,
            ("a:DestinationUnreachable", 0x8004_1010),
        ),
        ("root/nowhere/C", &name, ("a:DestinationUnreachable", 0x8004_100E)),
    ] {
        let answer = ask(&server, &get(resource, headers)).await;
        assert_eq!(
            fault(&answer),
            (wanted.0.to_owned(), wanted.1),
            "{headers}: {}",
            answer.body
        );
    }
    let fragment = format!(
        "{}<w:FragmentTransfer s:mustUnderstand='true'>ElementName</w:FragmentTransfer>",
        selectors(&both)
    );
    let body = ask(&server, &get(MACHINES, &fragment)).await.body;
    assert!(
        body.contains("<w:XmlFragment ")
            && body.contains("<p:ElementName>web-01</p:ElementName></w:XmlFragment>")
    );
}

fn invoke(class: &str, method: &str, keys: &[(&str, &str)], inside: &str) -> String {
    let uri = format!("{WMI}{V2}/{class}");
    let body = format!("<p:{method}_INPUT xmlns:p='{uri}'>{inside}</p:{method}_INPUT>");
    envelope(&format!("{uri}/{method}"), &uri, &selectors(keys), &body)
}

fn define(settings: &str) -> String {
    invoke(
        SERVICE,
        "DefineSystem",
        &[("CreationClassName", SERVICE)],
        &format!("<p:SystemSettings>{settings}</p:SystemSettings>"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_takes_references_and_instances_as_windows_does() {
    let server = open(1).await;
    let settings = "<INSTANCE CLASSNAME=\"Msvm_VirtualSystemSettingData\"><PROPERTY NAME=\"ElementName\" TYPE=\"string\">\
                    <VALUE>R&#38;D</VALUE></PROPERTY></INSTANCE>";
    let escaped = settings.replace('&', "&amp;").replace('<', "&lt;");
    for settings in [
        format!("<![CDATA[{settings}]]>"),
        format!("&lt;?xml version=\"1.0\"?&gt;\n{escaped}"),
    ] {
        let body = ask(&server, &define(&settings)).await.body;
        assert!(
            body.contains("<p:DefineSystem_OUTPUT ") && body.contains("<p:ReturnValue>0</p:ReturnValue>"),
            "{body}"
        );
        assert!(body.contains("<p:Job xsi:nil=\"true\"/>"), "{body}");
        let system = between(&body, "<p:ResultingSystem ", "</p:ResultingSystem>").unwrap();
        assert!(
            system.contains("><a:Address>") && !system.contains("__cimnamespace"),
            "{system}"
        );
    }
    let body = ask(
        &server,
        &wql(V2, "SELECT * FROM Msvm_ComputerSystem WHERE ElementName = 'R&D'"),
    )
    .await
    .body;
    assert_eq!(body.matches("<p:ElementName>R&amp;D</p:ElementName>").count(), 2);
    let state = |keys: &[(&str, &str)]| {
        invoke(
            "Msvm_ComputerSystem",
            "RequestStateChange",
            keys,
            "<p:RequestedState>2</p:RequestedState>",
        )
    };
    let all = [("CreationClassName", "Msvm_ComputerSystem"), ("Name", FIRST)];
    assert!(
        ask(&server, &state(&all))
            .await
            .body
            .contains("<p:ReturnValue>0<")
    );
    assert_eq!(
        fault(&ask(&server, &state(&all[1..])).await).0,
        "a:DestinationUnreachable"
    );
    let several = (0..3).map(|number| {
        format!(
            "<p:DataItems><![CDATA[<INSTANCE CLASSNAME=\"Msvm_KvpExchangeDataItem\"><PROPERTY NAME=\"Name\" TYPE=\"string\">\
             <VALUE>k{number}</VALUE></PROPERTY></INSTANCE>]]></p:DataItems>"
        )
    });
    let several: String = several.collect();
    let kvp = invoke(
        SERVICE,
        "AddKvpItems",
        &[("CreationClassName", SERVICE)],
        &several,
    );
    assert!(ask(&server, &kvp).await.body.contains("<p:ReturnValue>3<"));
    assert_eq!(server.complaints(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_a_real_host_refused_are_refused_alike() {
    let server = open(1).await;
    let instance = |inside: &str| {
        define(&format!(
            "<![CDATA[<INSTANCE CLASSNAME=\"Msvm_VirtualSystemSettingData\">{inside}</INSTANCE>]]>"
        ))
    };
    let name = |value: &str| {
        instance(&format!(
            "<PROPERTY NAME=\"ElementName\" TYPE=\"string\"><VALUE>{value}</VALUE></PROPERTY>"
        ))
    };
    for (request, number) in [
        (name("R&amp;D"), 32768),
        (name("a&lt;b"), 32773),
        (
            instance("<PROPERTY NAME=\"Notes\" TYPE=\"string\"><VALUE>a</VALUE></PROPERTY>"),
            32773,
        ),
    ] {
        let body = ask(&server, &request).await.body;
        assert!(
            body.contains(&format!("<p:ReturnValue>{number}</p:ReturnValue>")),
            "{request}: {body}"
        );
    }
    let service = [("CreationClassName", SERVICE)];
    let destroy = |inside: &str| {
        invoke(
            SERVICE,
            "DestroySystem",
            &service,
            &format!("<p:AffectedSystem>{inside}</p:AffectedSystem>"),
        )
    };
    let reference = format!(
        "<a:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address><a:ReferenceParameters><w:ResourceURI>\
         {WMI}{MACHINES}</w:ResourceURI>{}</a:ReferenceParameters>",
        selectors(&[("CreationClassName", "Msvm_ComputerSystem"), ("Name", FIRST)])
    );
    let tree = "<p:ElementName>x</p:ElementName>";
    let schema = ("w:SchemaValidationError".to_owned(), 2_150_858_817);
    for request in [
        destroy(&format!("<a:EndpointReference>{reference}</a:EndpointReference>")),
        destroy("text"),
        define(tree),
        invoke(SERVICE, "DefineSystem", &service, "<p:Colour>1</p:Colour>"),
        invoke(
            SERVICE,
            "DefineSystem",
            &service,
            "<q:SystemSettings xmlns:q='u'>1</q:SystemSettings>",
        ),
        invoke(
            "Msvm_ComputerSystem",
            "RequestStateChange",
            &[("CreationClassName", "Msvm_ComputerSystem"), ("Name", FIRST)],
            "<p:RequestedState>70000</p:RequestedState>",
        ),
        invoke(
            "Msvm_ComputerSystem",
            "RequestStateChange",
            &[("CreationClassName", "Msvm_ComputerSystem"), ("Name", FIRST)],
            "<p:RequestedState>2</p:RequestedState><p:RequestedState>3</p:RequestedState>",
        ),
    ] {
        let answer = ask(&server, &request).await;
        assert_eq!(
            (answer.status, fault(&answer)),
            (500, schema.clone()),
            "{request}\n{}",
            answer.body
        );
    }
    for (request, wanted) in [
        (invoke(SERVICE, "Dance", &service, ""), 0x8004_102E),
        (invoke(SERVICE, "DefineSystem", &[], ""), 0x8004_102F),
        (
            invoke("Msvm_ImageManagementService", "CreateVirtualHardDisk", &[], ""),
            2_150_858_755,
        ),
        (name("x").replace("ElementName\"", "Colour\""), 0x8004_1008),
    ] {
        assert_eq!(fault(&ask(&server, &request).await).1, wanted, "{request}");
    }
    assert!(
        ask(&server, &destroy(&reference))
            .await
            .body
            .contains("<p:ReturnValue>0<")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_created_changed_and_deleted() {
    let server = open(0).await;
    let uri = format!("{WMI}{NETWORK}/MSFT_NetNat");
    let nat = |inside: &str| format!("<p:MSFT_NetNat xmlns:p='{uri}'>{inside}</p:MSFT_NetNat>");
    let transfer =
        |verb: &str, headers: &str, body: &str| envelope(&format!("{TRANSFER}/{verb}"), &uri, headers, body);
    let prefix = "<p:InternalIPInterfaceAddressPrefix>10.0.0.0/24</p:InternalIPInterfaceAddressPrefix>";
    let made = ask(
        &server,
        &transfer("Create", "", &nat(&format!("<p:Name>lab</p:Name>{prefix}"))),
    )
    .await;
    assert!(
        made.body.contains("<x:ResourceCreated><a:Address>") && made.body.contains(">lab;0</w:Selector>"),
        "{}",
        made.body
    );
    let keys = selectors(&[("InstanceID", "lab;0")]);
    let part = ask(&server, &transfer("Put", &keys, &nat("<p:Name>lab</p:Name>"))).await;
    assert_eq!(
        fault(&part).0,
        "w:SchemaValidationError",
        "a Put of a part loses the rest"
    );
    let fragment = format!("{keys}<w:FragmentTransfer s:mustUnderstand='true'>Active</w:FragmentTransfer>");
    let body = format!("<w:XmlFragment><p:Active xmlns:p='{uri}'>0</p:Active></w:XmlFragment>");
    let put = ask(&server, &transfer("Put", &fragment, &body)).await;
    assert!(
        put.body.contains("<p:Active>0</p:Active></w:XmlFragment>"),
        "{}",
        put.body
    );
    let loose = fragment.replace("'true'", "'false'");
    assert_eq!(
        fault(&ask(&server, &transfer("Put", &loose, &body)).await).0,
        "a:InvalidMessageInformationHeader"
    );
    assert_eq!(
        fault(&ask(&server, &transfer("Create", "", &nat("<p:Colour>1</p:Colour>"))).await).1,
        2_150_858_817
    );
    assert_eq!(ask(&server, &transfer("Delete", &keys, "")).await.status, 200);
    assert_eq!(
        fault(&ask(&server, &transfer("Delete", &keys, "")).await),
        ("a:DestinationUnreachable".into(), 0x8004_1002)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_headers_and_bad_xml_are_refused_and_nothing_breaks() {
    let server = open(1).await;
    let plain = enumerate(MACHINES, "");
    let header = |more: &str| plain.replace("<a:MessageID>", &format!("{more}<a:MessageID>"));
    for (request, status, wanted) in [
        (
            header("<w:MaxEnvelopeSize s:mustUnderstand='true'>8191</w:MaxEnvelopeSize>"),
            500,
            2_150_858_862,
        ),
        (
            header("<w:OperationTimeout>60</w:OperationTimeout>"),
            500,
            2_150_858_854,
        ),
        (header("<q:H xmlns:q='q' s:mustUnderstand='true'/>"), 500, 0),
        (
            plain.replace("/Enumerate</a:Action>", "/Dance</a:Action>"),
            500,
            2_150_858_771,
        ),
        (
            plain.replace("<a:MessageID>uuid:1</a:MessageID>", "<a:MessageID></a:MessageID>"),
            500,
            2_150_858_769,
        ),
        (
            plain.replace(WMI, "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"),
            500,
            2_150_858_752,
        ),
        (plain.replace("</s:Body>", ""), 400, 2_150_858_819),
        // As a known client pastes a SelectorSet without its prefix.
        (
            plain.replace(" xmlns:w='http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd'", ""),
            400,
            2_150_858_819,
        ),
        (
            format!("<!DOCTYPE a [<!ENTITY b 'c'>]>{plain}"),
            400,
            2_150_858_819,
        ),
        (
            plain.replace(
                "</n:Enumerate>",
                &format!("{}</n:Enumerate>", "<!-- x -->".repeat(60_000)),
            ),
            500,
            2_150_858_790,
        ),
    ] {
        let answer = ask(&server, &request).await;
        assert_eq!(
            (answer.status, fault(&answer).1),
            (status, wanted),
            "{:.300}\n{}",
            request,
            answer.body
        );
    }
    assert_eq!(ask(&server, &plain).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_rights_are_those_of_the_user() {
    let server = with(2, |config| {
        config.offers.basic = true;
        config.unencrypted = Unencrypted::Allowed;
        for (name, rights) in [
            ("hv", Rights::HyperV),
            ("remote", Rights::Remote),
            ("none", Rights::None),
        ] {
            config
                .users
                .push(User::administrator(name, PASSWORD).with(rights));
        }
    })
    .await;
    let asked = async |user: &str, request: &str| ask_as(&server, user, request).await.unwrap();
    let settings = envelope(
        &format!("{TRANSFER}/Get"),
        "http://schemas.microsoft.com/wbem/wsman/1/config",
        "",
        "",
    );
    let read = asked(USER, &settings).await.body;
    assert!(
        read.contains("<cfg:MaxEnvelopeSizekb>500<") && read.contains("<cfg:EnumerationTimeoutms>240000<"),
        "{read}"
    );
    assert_eq!(fault(&asked("hv", &settings).await), ("w:AccessDenied".into(), 5));
    let machines = wql(V2, "SELECT * FROM Msvm_ComputerSystem");
    let nats = wql(NETWORK, "SELECT * FROM MSFT_NetNat");
    assert!(asked("hv", &machines).await.body.contains("web-01"));
    assert_eq!(
        fault(&asked("hv", &nats).await),
        ("w:AccessDenied".into(), 0x8004_1003)
    );
    // The trap: no error, and no machines.
    let empty = asked("remote", &machines).await;
    assert!(
        empty.status == 200 && empty.body.contains("<w:Items></w:Items><w:EndOfSequence/>"),
        "{}",
        empty.body
    );
    assert!(
        asked(
            "remote",
            &define("<![CDATA[<INSTANCE CLASSNAME=\"Msvm_VirtualSystemSettingData\"/>]]>")
        )
        .await
        .body
        .contains(">32769<")
    );
    assert_eq!(
        fault(&asked("none", &machines).await),
        ("w:AccessDenied".into(), 5)
    );
    assert_eq!(asked("stranger", &machines).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_leaves_the_schema_is_told_aloud() {
    let server = open(0).await;
    let answer = ask(&server, &wql(V2, "SELECT * FROM Msvm_TPM")).await;
    assert_eq!(fault(&answer).0, "w:InternalError");
    assert!(
        server.complaints()[0].contains("Colour"),
        "{:?}",
        server.complaints()
    );
}
