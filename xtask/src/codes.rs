//! The table of error codes in the docs, made from the code: a fact that stands in one place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;

const TABLE: &str = "docs/error-codes.md";
const KINDS: [&str; 13] = [
    "invalid",
    "unauthenticated",
    "payment_failed",
    "forbidden",
    "not_found",
    "conflict",
    "gone",
    "precondition",
    "refused",
    "too_many",
    "internal",
    "unavailable",
    "deadline",
];

/// Compares the table with the code, or writes it.
///
/// # Errors
/// The table is stale.
pub fn check(write: bool) -> anyhow::Result<()> {
    let table = table()?;
    let path = crate::root().join(TABLE);
    if write {
        std::fs::create_dir_all(crate::root().join("docs"))?;
        return Ok(std::fs::write(path, table)?);
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    anyhow::ensure!(found == table, "{TABLE} is stale; run: cargo run -p xtask -- generated --write");
    Ok(())
}

/// Makes the table.
///
/// # Errors
/// The sources cannot be read.
pub fn table() -> anyhow::Result<String> {
    let mut codes: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for folder in ["crates", "services", "mallard"] {
        collect(&crate::root().join(folder), &mut codes)?;
    }
    let mut out = String::from(
        "# Error codes\n\nMade from the sources by `cargo run -p xtask -- generated --write`; a test compares it with them.\n\n| code | type | said by |\n|---|---|---|\n",
    );
    for ((code, kind), places) in codes {
        let places: Vec<_> = places.into_iter().collect();
        out.push_str(&format!("| `{code}` | {kind} | {} |\n", places.join(", ")));
    }
    Ok(out)
}

fn collect(folder: &Path, codes: &mut BTreeMap<(String, String), BTreeSet<String>>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | "tests" | "benches" | "testkit") {
                collect(&path, codes)?;
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path)?;
            // What a test makes up is no code of the product.
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let place = owner(&path);
            for (kind, code) in calls(text) {
                codes.entry((code, kind)).or_default().insert(place.clone());
            }
        }
    }
    Ok(())
}

fn owner(path: &Path) -> String {
    let relative = path.strip_prefix(crate::root()).unwrap_or(path);
    let mut parts = relative.components().map(|c| c.as_os_str().to_string_lossy().into_owned());
    match parts.next().as_deref() {
        Some("mallard") => "mallard".into(),
        _ => parts.next().unwrap_or_default(),
    }
}

/// Finds `Error::kind("code"` in a source, and `Refusal::bad("code"`, of which an invalid request is made.
fn calls(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let said = KINDS.map(|kind| (kind, format!("Error::{kind}(")));
    for (kind, call) in said.into_iter().chain([("invalid", "Refusal::bad(".to_owned())]) {
        for (at, _) in text.match_indices(&call) {
            let rest = text[at + call.len()..].trim_start();
            if let Some(code) = rest.strip_prefix('"').and_then(|rest| rest.split('"').next()) {
                found.push((kind.to_owned(), code.to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_code_is_found_where_it_is_said() {
        let text = "Err(Error::conflict(\n    \"out_of_stock\", \"x\"))";
        assert_eq!(super::calls(text), [("conflict".to_owned(), "out_of_stock".to_owned())]);
        let text = "Refusal::bad(\"bad_title\", param, \"x\")";
        assert_eq!(super::calls(text), [("invalid".to_owned(), "bad_title".to_owned())]);
    }
}
