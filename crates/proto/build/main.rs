//! Compiles the contracts under `proto/` without `protoc`: messages, clients, servers, the JSON mapping, the REST table.

mod clients;
mod events;
mod json;
mod options;
mod rest;
mod schema;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use options::Options;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed={}", root.display());

    let mut files = Vec::new();
    find(&root.join("mallard"), &mut files)?;
    files.sort();
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;

    // Encoded by protox itself: the decoded form of prost-types drops the options of google.api and mallard.api.
    fs::write(out.join("mallard.fds"), compiler.encode_file_descriptor_set())?;
    let options = Options::new(compiler.descriptor_pool())?;

    let mut builder = tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        // A test fakes only the methods it needs; the others answer Unimplemented.
        .generate_default_stubs(true)
        .extern_path(".google.protobuf.Timestamp", "crate::Timestamp")
        .btree_map(".");
    for (message, attribute) in json::message_attributes(&options) {
        builder = builder.message_attribute(message, attribute);
    }
    for (field, attribute) in json::field_attributes(&options)? {
        builder = builder.field_attribute(field, attribute);
    }
    builder = builder.skip_debug(json::secret_messages(&options).map(|message| format!(".{}", message.full_name())));
    let mut set = compiler.file_descriptor_set();
    set.file.retain(|file| options::is_contract(file.package()) || file.package() == "google.protobuf");
    builder.compile_fds(set)?;

    fs::write(out.join("modules.rs"), modules(&options))?;
    fs::write(out.join("json.rs"), json::code(&options)?)?;
    fs::write(out.join("rest.rs"), rest::code(&options)?)?;
    fs::write(out.join("clients.rs"), clients::code(&options)?)?;
    fs::write(out.join("schema.rs"), schema::code(&options)?)?;
    fs::write(out.join("events.rs"), events::code(&options))?;
    Ok(())
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

/// Writes one module per package: `mallard.order.v1` becomes `order::v1`.
fn modules(options: &Options) -> String {
    let mut code = String::new();
    for package in options.packages() {
        let dir = options::dir(&package);
        code += &format!(
            "#[doc = \"Contracts of `{package}`.\"]\npub mod {dir} {{\n    #[doc = \"Version 1.\"]\n    #[allow(clippy::all, rustdoc::all)]\n    \
             pub mod v1 {{\n        include!(concat!(env!(\"OUT_DIR\"), \"/{package}.rs\"));\n    }}\n}}\n"
        );
    }
    code
}
