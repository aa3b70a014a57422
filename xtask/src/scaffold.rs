//! Makes a new service: its contract and the ten files, ready to compile.

use std::path::Path;

use anyhow::{Context, ensure};

const FILES: [(&str, &str); 8] = [
    ("proto/mallard/NAME/v1/NAME.proto", include_str!("../template/service.proto")),
    ("services/NAME/Cargo.toml", include_str!("../template/Cargo.toml.txt")),
    ("services/NAME/README.md", include_str!("../template/README.md")),
    ("services/NAME/src/lib.rs", include_str!("../template/lib.rs.txt")),
    ("services/NAME/src/domain.rs", include_str!("../template/domain.rs.txt")),
    ("services/NAME/src/app.rs", include_str!("../template/app.rs.txt")),
    ("services/NAME/src/rpc.rs", include_str!("../template/rpc.rs.txt")),
    ("services/NAME/src/config.rs", include_str!("../template/config.rs.txt")),
];

/// Writes the files; refuses when any is there.
pub fn new_service(name: &str) -> anyhow::Result<()> {
    ensure!(
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()),
        "a service's name is lower-case letters only, e.g. loyalty"
    );
    write(&xtask::root(), name)?;
    println!(
        "made services/{name} and proto/mallard/{name}; next: add it to [workspace.dependencies] and to mallard::services()"
    );
    Ok(())
}

fn write(root: &Path, name: &str) -> anyhow::Result<()> {
    let title = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
    let fill = |text: &str| text.replace("NAME", name).replace("TITLE", &title);
    for (path, _) in FILES {
        let path = root.join(fill(path));
        ensure!(!path.exists(), "{} exists already", path.display());
    }
    for (path, text) in FILES {
        let path = root.join(fill(path));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, fill(text)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_service_has_its_files_and_is_not_written_twice() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), "loyalty").expect("the files are written");
        let lib = std::fs::read_to_string(folder.path().join("services/loyalty/src/lib.rs")).expect("lib.rs");
        assert!(lib.contains("LoyaltyServiceServer") && !lib.contains("NAME") && !lib.contains("TITLE"));
        let proto = std::fs::read_to_string(folder.path().join("proto/mallard/loyalty/v1/loyalty.proto"))
            .expect("the contract");
        assert!(proto.contains("package mallard.loyalty.v1;"));
        assert!(write(folder.path(), "loyalty").unwrap_err().to_string().contains("exists already"));
    }

    #[test]
    fn a_name_that_is_no_name_is_refused() {
        assert!(new_service("Loyalty Points").is_err());
    }
}
