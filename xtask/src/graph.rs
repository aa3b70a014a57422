//! Allowed directions between the crates of the workspace, read from `cargo metadata`.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Height of each platform crate: one may use only lower ones.
const LAYERS: [(&str, u32); 12] = [
    ("mallard-types", 0),
    ("mallard-rpc", 1),
    ("mallard-db", 1),
    ("mallard-cache", 1),
    ("mallard-access", 1),
    ("mallard-proto", 2),
    ("mallard-bus", 3),
    ("mallard-flow", 3),
    ("mallard-gateway-core", 3),
    ("mallard-runtime", 4),
    ("mallard-admission", 5),
    ("mallard-testkit", 7),
];
const SERVICE_HEIGHT: u32 = 6;

/// Lists the dependencies that point the wrong way, one sentence each.
///
/// # Errors
/// `cargo metadata` cannot be run.
pub fn forbidden_edges() -> anyhow::Result<Vec<String>> {
    let metadata = MetadataCommand::new().manifest_path(crate::root().join("Cargo.toml")).no_deps().exec()?;
    let layers: BTreeMap<&str, u32> = LAYERS.into_iter().collect();
    let folder = |path: &str, name: &str| path.contains(&format!("/{name}/"));
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let path = package.manifest_path.as_str();
        let name = package.name.as_str();
        let service = folder(path, "services");
        let adapter = folder(path, "adapters");
        // The binary, the black-box tests and xtask see everything.
        let height = match layers.get(name) {
            Some(height) => *height,
            None if service => SERVICE_HEIGHT,
            None if adapter => SERVICE_HEIGHT,
            None if folder(path, "crates") => {
                faults.push(format!("{name} is a platform crate without a place in the layers of xtask/src/graph.rs"));
                continue;
            }
            None => continue,
        };
        for dependency in package.dependencies.iter().filter(|d| d.path.is_some()) {
            let used = dependency.name.as_str();
            if dependency.kind == DependencyKind::Development {
                if used == "mallard" {
                    faults.push(format!("{name} must not see the binary, not even in tests"));
                }
                continue;
            }
            let allowed = match layers.get(used) {
                Some(below) => *below < height && used != "mallard-testkit",
                None => false,
            };
            if !allowed {
                faults.push(format!("{name} must not depend on {used}"));
            }
        }
    }
    Ok(faults)
}
