//! What the client makes of answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wsman::{
    Answer, Carrier, Client, Error, FaultKind, Invoke, Namespace, Raw, Reference, ResourceUri, Settings,
    Value,
};

use crate::service::{LOST, SOAP, Script, envelope, fault};

const V2: Namespace = Namespace("root/virtualization/v2");

fn row(name: &str) -> String {
    format!("<p:C xmlns:p=\"u/C\"><p:Name>{name}</p:Name></p:C>")
}

fn first(rows: &[&str], context: &str) -> String {
    let rows: String = rows.iter().map(|name| row(name)).collect();
    envelope(&format!(
        "<n:EnumerateResponse><n:EnumerationContext>{context}</n:EnumerationContext><w:Items>{rows}</w:Items></n:EnumerateResponse>"
    ))
}

fn next(rows: &[&str], end: &str) -> String {
    let rows: String = rows.iter().map(|name| row(name)).collect();
    envelope(&format!(
        "<n:PullResponse><n:Items>{rows}</n:Items>{end}</n:PullResponse>"
    ))
}

const END: &str = "<n:EndOfSequence/>";
const GOES_ON: &str = "<n:EnumerationContext>c1</n:EnumerationContext>";

async fn names(script: &std::sync::Arc<Script>) -> Result<Vec<String>, Error> {
    let rows = script.client().query(V2, "SELECT * FROM C").await?;
    let name = |raw: &Raw| match raw {
        Raw::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    Ok(rows.iter().map(|row| name(row.get("Name"))).collect())
}

#[tokio::test]
async fn an_enumeration_is_read_page_by_page_to_its_end() {
    let script = Script::of(&[
        (200, first(&["a", "b"], "c0")),
        // A page may be empty, shorter than asked for, or late.
        (200, next(&[], GOES_ON)),
        (500, fault("TimedOut", 0x8033_8029)),
        (200, next(&["c"], END)),
    ]);
    assert_eq!(names(&script).await.unwrap(), ["a", "b", "c"]);
    let asked = script.asked();
    assert!(
        asked[0].contains("/root/virtualization/v2/*</w:ResourceURI>"),
        "{}",
        asked[0]
    );
    assert!(asked[0].contains(">SELECT * FROM C</w:Filter>"), "{}", asked[0]);
    assert!(
        asked[1].contains(">c0<") && asked[3].contains(">c1<"),
        "contexts follow"
    );
}

#[tokio::test]
async fn a_context_beside_the_end_is_dead() {
    let body = "<e:EnumerateResponse xmlns:e='http://schemas.xmlsoap.org/ws/2004/09/enumeration' \
                xmlns:m='http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd'><e:EnumerationContext>7</e:EnumerationContext>\
                <m:Items><m:XmlFragment><Name>a</Name></m:XmlFragment></m:Items><m:EndOfSequence/></e:EnumerateResponse>";
    let omi = format!(
        "<SOAP-ENV:Envelope xmlns:SOAP-ENV='{SOAP}'><SOAP-ENV:Body>{body}</SOAP-ENV:Body></SOAP-ENV:Envelope>"
    );
    let script = Script::of(&[(200, omi)]);
    assert_eq!(names(&script).await.unwrap(), ["a"]);
    assert_eq!(script.asked().len(), 1);
}

#[tokio::test]
async fn rows_that_do_not_fit_are_asked_for_in_smaller_pages() {
    let script = Script::of(&[
        (500, fault("EncodingLimit", 1)),
        (
            200,
            envelope("<n:EnumerateResponse><w:Items/><w:EndOfSequence/></n:EnumerateResponse>"),
        ),
    ]);
    assert_eq!(names(&script).await.unwrap(), Vec::<String>::new());
    let asked = script.asked();
    assert!(asked[0].contains("<w:MaxElements>500<") && asked[1].contains("<w:MaxElements>250<"));
}

#[tokio::test]
async fn an_enumeration_that_fails_is_given_back() {
    let script = Script::of(&[
        (200, first(&["a"], "c0")),
        (500, fault("InternalError", 0x8033_8003)),
        (200, envelope("")),
    ]);
    assert!(matches!(names(&script).await, Err(Error::Fault(_))));
    let asked = script.asked();
    assert!(
        asked[2].contains("/enumeration/Release<") && asked[2].contains(">c0<"),
        "{}",
        asked[2]
    );
}

/// Gives one page, and keeps who asks for the next one waiting; and perhaps who gives the enumeration back.
#[derive(Default)]
struct Slow {
    keeps_releases: bool,
    pulls: AtomicUsize,
    released: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl Carrier for Slow {
    fn to(&self) -> &str {
        "https://hv7:5986/wsman"
    }

    async fn carry(&self, envelope: String) -> Result<Answer, Error> {
        let body = if envelope.contains("/enumeration/Enumerate<") {
            first(&["a"], "c7")
        } else if envelope.contains("/enumeration/Pull<") {
            self.pulls.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        } else {
            self.released.lock().unwrap().push(envelope);
            match self.keeps_releases {
                true => std::future::pending().await,
                false => nothing(),
            }
        };
        Ok(Answer {
            status: 200,
            body: body.into(),
        })
    }
}

fn nothing() -> String {
    envelope("")
}

async fn until(holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_enumeration_that_nobody_waits_for_any_more_is_given_back() {
    let slow = Arc::new(Slow::default());
    let client = Client::new(slow.clone(), Settings::default());
    let asked = tokio::spawn(async move { client.query(V2, "SELECT * FROM C").await });
    until(|| slow.pulls.load(Ordering::SeqCst) == 1).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    until(|| slow.released.lock().unwrap().len() == 1).await;
    let released = slow.released.lock().unwrap()[0].clone();
    assert!(
        released.contains("/enumeration/Release<") && released.contains(">c7<"),
        "{released}"
    );
}

#[tokio::test(start_paused = true)]
async fn enumerations_are_given_back_a_few_at_a_time_and_not_for_ever() {
    let slow = Arc::new(Slow {
        keeps_releases: true,
        ..Slow::default()
    });
    let client = Client::new(slow.clone(), Settings::default());
    let give_up = async |count: usize| {
        let before = slow.pulls.load(Ordering::SeqCst);
        let all: Vec<_> = (0..count)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.query(V2, "SELECT * FROM C").await })
            })
            .collect();
        until(|| slow.pulls.load(Ordering::SeqCst) == before + count).await;
        for one in all {
            one.abort();
            assert!(one.await.unwrap_err().is_cancelled());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        slow.released.lock().unwrap().len()
    };
    assert_eq!(give_up(50).await, 8);
    // A host that does not answer them is not waited for.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(give_up(1).await, 9);
}

#[tokio::test]
async fn what_changes_nothing_is_asked_once_more_where_the_answer_was_lost_and_nothing_else_is() {
    let lost = (LOST, "reset".to_owned());
    let script = Script::of(&[
        (200, first(&["a"], "c0")),
        lost.clone(),
        // Given back, in case it is still there.
        (200, envelope("")),
        (200, first(&["a"], "c2")),
        (200, next(&["b"], END)),
    ]);
    // Where an enumeration stands on the host nobody knows any more.
    let read = names(&script).await.unwrap();
    assert_eq!(read, ["a", "b"]);
    assert!(script.asked()[4].contains(">c2<"));
    let script = Script::of(&[lost.clone(), lost.clone()]);
    let one = Reference::service(V2, "C");
    assert!(matches!(script.client().get(&one).await, Err(Error::Lost(_))));
    let script = Script::of(&[lost]);
    let error = script.client().delete(&one).await.unwrap_err();
    assert!(error.may_be_done());
    assert_eq!(script.asked().len(), 1);
}

#[tokio::test]
async fn a_method_is_called_with_texts_arrays_and_references() {
    let job = "<p:Do_OUTPUT xmlns:p='u'><p:Job><a:Address>x</a:Address><a:ReferenceParameters>\
               <w:ResourceURI>u/Msvm_ConcreteJob</w:ResourceURI><w:SelectorSet><w:Selector Name='InstanceID'>J1</w:Selector>\
               </w:SelectorSet></a:ReferenceParameters></p:Job><p:ReturnValue>4096</p:ReturnValue></p:Do_OUTPUT>";
    let script = Script::of(&[(200, envelope(job))]);
    let machine = Reference::new(V2, "Msvm_ComputerSystem", &[("Name", "5E0C")]);
    let call = Invoke::of(Reference::service(V2, "Msvm_S"), "Do")
        .text("Settings", "<INSTANCE/>")
        .text("Settings", "b & c")
        .reference("Affected", machine);
    let output = script.client().invoke(&call).await.unwrap();
    assert_eq!(output.get("ReturnValue"), &Raw::Text("4096".into()));
    let Raw::Reference(job) = output.get("Job") else {
        panic!("{output:?}");
    };
    assert_eq!(job.selector("InstanceID"), Some("J1"));
    let asked = &script.asked()[0];
    for part in [
        "<q:Do_INPUT xmlns:q=\"http://schemas.microsoft.com/wbem/wsman/1/wmi/root/virtualization/v2/Msvm_S\">",
        "<q:Settings>&lt;INSTANCE/&gt;</q:Settings><q:Settings>b &amp; c</q:Settings>",
        "<q:Affected><a:Address>",
        "<w:Selector Name=\"CreationClassName\">Msvm_S</w:Selector></w:SelectorSet></s:Header>",
        "/Msvm_S/Do</a:Action>",
    ] {
        assert!(asked.contains(part), "no {part} in {asked}");
    }
}

#[tokio::test]
async fn objects_are_got_made_changed_and_deleted() {
    let made = "<x:ResourceCreated><a:Address>x</a:Address><a:ReferenceParameters><w:ResourceURI>u/C</w:ResourceURI>\
                <w:SelectorSet><w:Selector Name='Id'>1</w:Selector></w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>";
    let script = Script::of(&[
        (200, envelope(made)),
        (200, envelope(&row("a"))),
        (200, envelope(&row("b"))),
        (200, envelope("")),
        (500, fault("DestinationUnreachable", 0x8033_8000)),
    ]);
    let client = script.client();
    let class = ResourceUri::class(V2, "C");
    let names = Value::Array(vec!["a".into(), "b".into()]);
    let one = client
        .create(&class, &[("Name", Value::One("a".into())), ("Of", names)])
        .await
        .unwrap();
    assert_eq!(one.selector("Id"), Some("1"));
    assert_eq!(
        client.get(&one).await.unwrap().get("Name"),
        &Raw::Text("a".into())
    );
    client
        .put(&one, &[("Name", Value::One("b".into()))])
        .await
        .unwrap();
    client.delete(&one).await.unwrap();
    let gone = client.get(&one).await.unwrap_err();
    assert_eq!(gone.fault(), Some(FaultKind::NotFound));
    assert!(!gone.may_be_done());
    let asked = script.asked();
    assert!(
        asked[0].contains("<q:Name>a</q:Name><q:Of>a</q:Of><q:Of>b</q:Of></q:C>"),
        "{}",
        asked[0]
    );
    assert!(asked[2].contains("/transfer/Put<") && asked[3].contains("/transfer/Delete<"));
}

#[tokio::test]
async fn whether_something_may_have_been_done_is_known_of_each_error() {
    for (answer, may_be_done) in [
        ((500, fault("TimedOut", 0x8033_8029)), true),
        ((500, fault("AccessDenied", 5)), false),
        ((200, "<html>".to_owned()), true),
        ((502, "bad gateway".to_owned()), true),
    ] {
        let script = Script::of(std::slice::from_ref(&answer));
        let error = script
            .client()
            .delete(&Reference::service(V2, "C"))
            .await
            .unwrap_err();
        assert_eq!(error.may_be_done(), may_be_done, "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn an_answer_in_utf_16_is_read() {
    let text = envelope(&row("ä"));
    let utf16: Vec<u8> = [0xfeff]
        .into_iter()
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    struct Wide(Vec<u8>);
    #[async_trait::async_trait]
    impl wsman::Carrier for Wide {
        fn to(&self) -> &str {
            "x"
        }
        async fn carry(&self, _: String) -> Result<wsman::Answer, Error> {
            Ok(wsman::Answer {
                status: 200,
                body: self.0.clone().into(),
            })
        }
    }
    let client = wsman::Client::new(std::sync::Arc::new(Wide(utf16)), wsman::Settings::default());
    let got = client.get(&Reference::service(V2, "C")).await.unwrap();
    assert_eq!(got.get("Name"), &Raw::Text("ä".into()));
}
