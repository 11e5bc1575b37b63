use super::*;

const FOREIGN: &str = "<watchdog model=\"itco\"  action='reset'>\n  <address type='pci' x:y='&#x41;&amp;'/><!-- by hand -->\
<?keep me?><![CDATA[<raw>]]>&lt;text&gt;\n</watchdog>";

#[test]
fn what_is_not_edited_is_written_as_it_was_read() {
    let text =
        format!("<domain xmlns:x='urn:x' type='kvm'>\n  <name>a</name>\n  {FOREIGN}\n  <e/>\n</domain>");
    let mut tree = Element::parse(&text).unwrap();
    assert_eq!(tree.to_string(), text);
    tree.set_child_text("name", "b");
    assert_eq!(tree.to_string(), text.replace(">a<", ">b<"));
}

#[test]
fn setting_what_stands_there_already_changes_nothing() {
    let text = "<vcpu  placement=\"static\">2</vcpu>";
    let mut tree = Element::parse(text).unwrap();
    tree.set_attribute("placement", "static");
    tree.set_text("2");
    assert_eq!(tree.to_string(), text);
}

#[test]
fn references_are_resolved_when_read_and_written_when_changed() {
    let mut tree = Element::parse("<a b='1&lt;2'>x &amp; &#65;<c>no</c></a>").unwrap();
    assert_eq!(tree.attribute("b"), Some("1<2"));
    assert_eq!(tree.text(), "x & A");
    tree.set_attribute("b", "it's \"<&>\"\n");
    tree.set_text("<&>\r");
    let again = Element::parse(&tree.to_string()).unwrap();
    assert_eq!(again.attribute("b"), Some("it's \"<&>\"\n"));
    assert_eq!(
        tree.to_string(),
        "<a b='it&apos;s &quot;&lt;&amp;&gt;&quot;&#10;'>&lt;&amp;&gt;&#13;</a>"
    );
}

#[test]
fn removing_an_element_leaves_the_others_in_their_places() {
    let mut tree = Element::parse("<d>\n  <a/>\n  <b/>\n  <c/>\n</d>").unwrap();
    tree.remove_named("b");
    assert_eq!(tree.to_string(), "<d>\n  <a/>\n  <c/>\n</d>");
    tree.replace(Element::new("a").with("n", "1"));
    assert_eq!(tree.to_string(), "<d>\n  <a n='1'/>\n  <c/>\n</d>");
}

#[test]
fn paths_find_the_first_of_each_name() {
    let tree = Element::parse("<d><os><type arch='x'>hvm</type><type/></os></d>").unwrap();
    assert_eq!(tree.text_at(&["os", "type"]).as_deref(), Some("hvm"));
    assert_eq!(tree.attribute_at(&["os", "type"], "arch"), Some("x"));
    assert_eq!(tree.at(&["os", "none"]), None);
}

#[test]
fn malformed_text_is_refused() {
    for bad in [
        "",
        "text",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "</a>",
        "<a b=c/>",
        "<a>&unknown;</a>",
        "<!DOCTYPE a><a/>",
    ] {
        assert!(Element::parse(bad).is_err(), "{bad}");
    }
    assert!(matches!(
        Element::parse(&"<a>".repeat(100_000)),
        Err(XmlError::TooDeep)
    ));
}

#[test]
fn a_declaration_and_comments_around_the_element_are_dropped() {
    let tree = Element::parse("<?xml version='1.0'?>\n<!-- WARNING -->\n<network><name>n</name></network>\n")
        .unwrap();
    assert_eq!(tree.to_string(), "<network><name>n</name></network>");
}
