//! Work that goes on after a method has answered.

use wsman::cim_class;

use super::V2;

cim_class! {
    /// A job of the service of machines, of switches or of checkpoints.
    pub struct ConcreteJob = "Msvm_ConcreteJob" in V2 {
        /// Which.
        pub id: String = "InstanceID",
        /// See [`crate::job::JobState`].
        pub state: u16 = "JobState",
        /// 0 even of a job that is done and did not work.
        pub error: u16 = "ErrorCode",
        /// In the host's language: for people, never to decide by.
        pub error_text: String = "ErrorDescription",
        /// How far it is.
        pub percent: u16 = "PercentComplete",
        /// Its name, in the host's language.
        pub name: String = "Name",
    }
}

cim_class! {
    /// A job of the service of virtual disks.
    pub struct StorageJob = "Msvm_StorageJob" in V2 {
        /// Which.
        pub id: String = "InstanceID",
        /// See [`crate::job::JobState`].
        pub state: u16 = "JobState",
        /// 0 even of a job that is done and did not work.
        pub error: u16 = "ErrorCode",
        /// In the host's language: for people, never to decide by.
        pub error_text: String = "ErrorDescription",
        /// How far it is.
        pub percent: u16 = "PercentComplete",
        /// Its name, in the host's language.
        pub name: String = "Name",
        /// What the disk service says of its end.
        pub completion: u32 = "JobCompletionStatusCode",
    }
}
