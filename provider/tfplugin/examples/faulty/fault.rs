//! The faults, by the names the tests call them.

use std::str::FromStr;

macro_rules! faults {
    ($($name:ident $text:literal,)*) => {
        /// What goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault {
            None,
            $($name,)*
        }

        impl FromStr for Fault {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    "none" => Ok(Self::None),
                    $($text => Ok(Self::$name),)*
                    _ => Err(format!("there is no fault {text:?}")),
                }
            }
        }
    };
}

faults! {
    ValidateFails "validate_fails",
    ValidatePanics "validate_panics",
    ConfigureFails "configure_fails",
    ConfigurePanics "configure_panics",
    UpgradeFails "upgrade_fails",
    UpgradePanics "upgrade_panics",

    PlanChangesConfigured "plan_changes_configured",
    PlanSetsUnconfigured "plan_sets_unconfigured",
    PlanMakesNullEmpty "plan_makes_null_empty",
    PlanReplacesNowhere "plan_replaces_nowhere",
    PlanReplacesTwice "plan_replaces_twice",
    PlanReplacesUnchanged "plan_replaces_unchanged",
    PlanNeverSettles "plan_never_settles",
    PlanKeepsWriteOnly "plan_keeps_write_only",
    PlanIsNull "plan_is_null",
    PlanOfDestroyIsNotNull "plan_of_destroy_is_not_null",
    PlanHasWrongType "plan_has_wrong_type",
    PlanLacksAnAttribute "plan_lacks_an_attribute",
    PlanIsRandom "plan_is_random",
    PlanIgnoresDefault "plan_ignores_default",
    PlanFails "plan_fails",
    PlanPanics "plan_panics",

    ApplySavesNothing "apply_saves_nothing",
    ApplySavesNull "apply_saves_null",
    ApplySavesWrongType "apply_saves_wrong_type",
    ApplyLeavesUnknown "apply_leaves_unknown",
    ApplyChangesPlanned "apply_changes_planned",
    ApplyMakesEmptyNull "apply_makes_empty_null",
    ApplyChangesSetElement "apply_changes_set_element",
    ApplyKeepsWriteOnly "apply_keeps_write_only",
    ApplyFailsAtOnce "apply_fails_at_once",
    ApplyFailsHalfway "apply_fails_halfway",
    ApplyPanicsAtOnce "apply_panics_at_once",
    ApplyPanicsHalfway "apply_panics_halfway",
    ApplySlow "apply_slow",
    ApplyStopsSilently "apply_stops_silently",
    ApplyStubborn "apply_stubborn",

    DeleteKeepsObject "delete_keeps_object",

    ReadLeavesUnknown "read_leaves_unknown",
    ReadFindsNothing "read_finds_nothing",
    ReadKeepsWriteOnly "read_keeps_write_only",
    ReadHasWrongType "read_has_wrong_type",
    ReadFails "read_fails",
    ReadPanics "read_panics",

    ImportFindsNothing "import_finds_nothing",
    ImportIsNull "import_is_null",
    ImportLeavesUnknown "import_leaves_unknown",
    ImportKeepsWriteOnly "import_keeps_write_only",
    ImportHasWrongType "import_has_wrong_type",
    ImportFails "import_fails",
    ImportPanics "import_panics",

    DataFindsNothing "data_finds_nothing",
    DataLeavesUnknown "data_leaves_unknown",
    DataFails "data_fails",
    DataPanics "data_panics",

    EphemeralOpensNothing "ephemeral_opens_nothing",
    EphemeralLeavesUnknown "ephemeral_leaves_unknown",
    EphemeralFails "ephemeral_fails",
    EphemeralPanics "ephemeral_panics",
    EphemeralIsNotClosed "ephemeral_is_not_closed",

    ShutdownHangs "shutdown_hangs",
}
