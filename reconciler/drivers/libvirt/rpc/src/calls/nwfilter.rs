//! Filters of network traffic.

use super::calls;
use crate::Connection;
use crate::error::Result;
use crate::model::NwFilterRef;
use crate::procedure as p;

/// Calls without flags in use still have the word for them.
const NO_FLAGS: u32 = 0;

calls! {
    /// The filter of that name.
    NWFILTER_LOOKUP_BY_NAME nwfilter_lookup_by_name(name: &str) -> NwFilterRef;
    /// Defines a filter, or changes the one with the same UUID and name; running domains behind it have the change at
    /// once, and where it cannot be applied to one of them nothing is changed.
    NWFILTER_DEFINE_XML nwfilter_define_xml(xml: &str) -> NwFilterRef;
    /// Removes it; refused where a running domain is behind it.
    NWFILTER_UNDEFINE nwfilter_undefine(filter: &NwFilterRef);
}

impl Connection {
    /// Its XML.
    pub async fn nwfilter_get_xml_desc(&self, filter: &NwFilterRef) -> Result<String> {
        self.call(&p::NWFILTER_GET_XML_DESC, &(filter, NO_FLAGS)).await
    }
}
