//! Writes `src/proto/*.rs` from the .proto files. Pure Rust: no protoc is needed.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let out = proto.join("../src/proto/generated");
    std::fs::create_dir_all(&out)?;
    let files = ["tfplugin6.proto", "goplugin.proto", "health.proto"];
    let descriptors = protox::compile(files, [&proto])?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .bytes(".tfplugin6")
        .out_dir(&out)
        .compile_fds(descriptors)?;
    Ok(())
}
