//! Storage pools and volumes.

use std::num::NonZeroU64;

use uuid::Uuid;

use super::calls;
use crate::Connection;
use crate::error::Result;
use crate::flags::{PoolBuild, PoolCreate, StorageXml, VolCreate, VolDelete, VolResize};
use crate::model::{PoolInfo, PoolRef, VolInfo, VolRef};
use crate::procedure as p;
use crate::stream::{Download, Upload};

const NO_FLAGS: u32 = 0;

calls! {
    /// The pool of that name.
    STORAGE_POOL_LOOKUP_BY_NAME storage_pool_lookup_by_name(name: &str) -> PoolRef;
    /// The pool of that UUID.
    STORAGE_POOL_LOOKUP_BY_UUID storage_pool_lookup_by_uuid(uuid: Uuid) -> PoolRef;
    /// The pool whose target is that path.
    STORAGE_POOL_LOOKUP_BY_TARGET_PATH storage_pool_lookup_by_target_path(path: &str) -> PoolRef;
    /// The pool of a volume.
    STORAGE_POOL_LOOKUP_BY_VOLUME storage_pool_lookup_by_volume(volume: &VolRef) -> PoolRef;
    /// Makes what the pool lies on, such as its directory.
    STORAGE_POOL_BUILD storage_pool_build(pool: &PoolRef, flags: PoolBuild);
    /// Starts it.
    STORAGE_POOL_CREATE storage_pool_create(pool: &PoolRef, flags: PoolCreate);
    /// Whether it starts with the host.
    STORAGE_POOL_GET_AUTOSTART storage_pool_get_autostart(pool: &PoolRef) -> bool;
    /// Makes it start with the host, or not.
    STORAGE_POOL_SET_AUTOSTART storage_pool_set_autostart(pool: &PoolRef, autostart: bool);
    /// Its figures.
    STORAGE_POOL_GET_INFO storage_pool_get_info(pool: &PoolRef) -> PoolInfo;
    /// Its XML.
    STORAGE_POOL_GET_XML_DESC storage_pool_get_xml_desc(pool: &PoolRef, flags: StorageXml) -> String;
    /// Whether it is started.
    STORAGE_POOL_IS_ACTIVE storage_pool_is_active(pool: &PoolRef) -> bool;
    /// Removes its definition; the data stays.
    STORAGE_POOL_UNDEFINE storage_pool_undefine(pool: &PoolRef);
    /// Stops it; the data stays.
    STORAGE_POOL_DESTROY storage_pool_destroy(pool: &PoolRef);
    /// The volume of that name.
    STORAGE_VOL_LOOKUP_BY_NAME storage_vol_lookup_by_name(pool: &PoolRef, name: &str) -> VolRef;
    /// Makes a pool that has no definition: it is gone when it stops.
    STORAGE_POOL_CREATE_XML storage_pool_create_xml(xml: &str, flags: PoolCreate) -> PoolRef;
    /// The volume with that path, in whichever pool.
    STORAGE_VOL_LOOKUP_BY_PATH storage_vol_lookup_by_path(path: &str) -> VolRef;
    /// The volume with that key, in whichever pool.
    STORAGE_VOL_LOOKUP_BY_KEY storage_vol_lookup_by_key(key: &str) -> VolRef;
    /// Makes a volume.
    STORAGE_VOL_CREATE_XML storage_vol_create_xml(pool: &PoolRef, xml: &str, flags: VolCreate) -> VolRef;
    /// Makes a volume with the contents of another.
    STORAGE_VOL_CREATE_XML_FROM storage_vol_create_xml_from(
        pool: &PoolRef, xml: &str, source: &VolRef, flags: VolCreate
    ) -> VolRef;
    /// Deletes it, whoever uses it.
    STORAGE_VOL_DELETE storage_vol_delete(volume: &VolRef, flags: VolDelete);
    /// Changes its size, in bytes.
    STORAGE_VOL_RESIZE storage_vol_resize(volume: &VolRef, capacity: u64, flags: VolResize);
    /// Its figures.
    STORAGE_VOL_GET_INFO storage_vol_get_info(volume: &VolRef) -> VolInfo;
    /// Its path on the host.
    STORAGE_VOL_GET_PATH storage_vol_get_path(volume: &VolRef) -> String;
}

impl Connection {
    /// Defines a pool, or changes the definition of the one with the same UUID and name.
    pub async fn storage_pool_define_xml(&self, xml: &str) -> Result<PoolRef> {
        self.call(&p::STORAGE_POOL_DEFINE_XML, &(xml, NO_FLAGS)).await
    }

    /// Looks at its data again; volumes made beside libvirt are seen only after it.
    pub async fn storage_pool_refresh(&self, pool: &PoolRef) -> Result<()> {
        self.call(&p::STORAGE_POOL_REFRESH, &(pool, NO_FLAGS)).await
    }

    /// Deletes what a stopped pool lies on, such as its empty directory.
    pub async fn storage_pool_delete(&self, pool: &PoolRef) -> Result<()> {
        self.call(&p::STORAGE_POOL_DELETE, &(pool, NO_FLAGS)).await
    }

    /// Its volumes, as of its last refresh.
    pub async fn storage_pool_list_all_volumes(&self, pool: &PoolRef) -> Result<Vec<VolRef>> {
        self.list(
            &p::STORAGE_POOL_LIST_ALL_VOLUMES,
            &(pool, super::NEED_RESULTS, NO_FLAGS),
        )
        .await
    }

    /// Its XML.
    pub async fn storage_vol_get_xml_desc(&self, volume: &VolRef) -> Result<String> {
        self.call(&p::STORAGE_VOL_GET_XML_DESC, &(volume, NO_FLAGS)).await
    }

    /// Starts to write `length` bytes at `offset`. The daemon dies of a byte more than was announced, so the
    /// stream refuses it; and it takes a length of zero for "no limit", so there is none.
    pub async fn storage_vol_upload(
        &self,
        volume: &VolRef,
        offset: u64,
        length: NonZeroU64,
    ) -> Result<Upload> {
        let args = (volume, offset, length.get(), NO_FLAGS);
        Ok(Upload::new(
            self.open_stream(&p::STORAGE_VOL_UPLOAD, &args).await?,
            length,
        ))
    }

    /// Starts to read at `offset`: `length` bytes, or all that follow.
    pub async fn storage_vol_download(
        &self,
        volume: &VolRef,
        offset: u64,
        length: Option<NonZeroU64>,
    ) -> Result<Download> {
        let args = (volume, offset, length.map_or(0, NonZeroU64::get), NO_FLAGS);
        Ok(Download::new(
            self.open_stream(&p::STORAGE_VOL_DOWNLOAD, &args).await?,
            length,
        ))
    }
}
