//! What a host that does not speak English says otherwise: captions, names that Windows gives by itself, descriptions of jobs and
//! errors. What people named, ids, classes and numbers are the same everywhere, and so is the description of a machine.

use crate::cim::{Instance, Value};

/// A row as a host says it that speaks Japanese.
pub(crate) fn translated(mut row: Instance) -> Instance {
    let all = |row: &mut Instance, names: &[&str]| {
        for name in names {
            if let Value::Text(text) = row.get(name)
                && !text.is_empty()
            {
                let said = word(text);
                row.set(name, Value::Text(said));
            }
        }
    };
    all(
        &mut row,
        &[
            "Caption",
            "JobStatus",
            "ErrorDescription",
            "ErrorSummaryDescription",
        ],
    );
    if row.class == "Msvm_ConcreteJob" || row.class == "Msvm_StorageJob" {
        all(&mut row, &["Name", "Description", "ElementName"]);
    }
    let given = [
        "Component",
        "ComponentSettingData",
        "Service",
        "MemorySettingData",
        "ProcessorSettingData",
    ];
    if given.iter().any(|end| row.class.ends_with(end)) || row.class.starts_with("Msvm_EthernetSwitchPort") {
        all(&mut row, &["ElementName"]);
    }
    if let Value::Array(texts) = row.get("StatusDescriptions") {
        let said = texts
            .iter()
            .filter_map(Value::as_text)
            .map(word)
            .collect::<Vec<_>>();
        row.set("StatusDescriptions", Value::texts(said));
    }
    row
}

/// The words that are asked for most; all others are told by their length alone, which is enough for nobody to rely on them.
fn word(english: &str) -> String {
    match english {
        "Virtual Machine" => "仮想マシン".to_owned(),
        "Hosting Computer System" => "ホスト コンピューター システム".to_owned(),
        "Operating normally" => "正常に動作しています".to_owned(),
        "Memory" => "メモリ".to_owned(),
        "Processor" => "プロセッサ".to_owned(),
        other => format!("日本語 {}", other.chars().count()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::Row;
    use super::*;

    #[test]
    fn what_people_named_is_not_translated() {
        let row = Row::of("Msvm_ComputerSystem")
            .text("Caption", "Virtual Machine")
            .text("ElementName", "web")
            .text("Description", "Microsoft Virtual Machine");
        let said = translated(row.done());
        assert_eq!(*said.get("Caption"), Value::text("仮想マシン"));
        assert_eq!(*said.get("ElementName"), Value::text("web"));
        assert_eq!(*said.get("Description"), Value::text("Microsoft Virtual Machine"));
    }
}
