//! Rules of the project that no compiler checks.

#[test]
fn every_dependency_points_the_allowed_way() {
    let faults = xtask::graph::forbidden_edges().expect("cargo metadata runs");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_table_of_error_codes_is_fresh() {
    xtask::codes::check(false).expect("run: cargo run -p xtask -- generated --write");
}

#[test]
fn domain_files_know_no_clock_no_chance_no_io_no_proto_and_no_sql() {
    let banned = [
        "async ",
        ".await",
        "std::time",
        "tokio",
        " rand::",
        "mallard_proto",
        "mallard_db",
        "mallard_rpc",
        "mallard_runtime",
        "SELECT ",
        "INSERT INTO",
    ];
    let mut faults = Vec::new();
    for service in std::fs::read_dir(xtask::root().join("services")).expect("services") {
        let src = service.expect("a folder").path().join("src");
        let mut files = vec![src.join("domain.rs")];
        if let Ok(parts) = std::fs::read_dir(src.join("domain")) {
            files.extend(parts.filter_map(|part| part.ok().map(|part| part.path())).filter(|path| path.is_file()));
        }
        for file in files.into_iter().filter(|file| file.exists()) {
            let text = std::fs::read_to_string(&file).expect("a readable file");
            for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
                if let Some(word) = banned.iter().find(|word| line.contains(*word)) {
                    faults.push(format!("{}:{}: {word}", file.display(), i + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn sql_stands_in_stores_and_migrations_only() {
    let mut faults = Vec::new();
    let mut folders = vec![xtask::root().join("services")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
            let path = entry.path();
            let shown = path.to_string_lossy().into_owned();
            if path.is_dir() {
                if !shown.ends_with("/tests") {
                    folders.push(path);
                }
            } else if shown.ends_with(".rs") && !is_store(&shown) {
                let text = std::fs::read_to_string(&path).expect("a readable file");
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                if ["\"SELECT ", "\"INSERT INTO ", "\"UPDATE ", "\"DELETE FROM "].iter().any(|sql| text.contains(sql)) {
                    faults.push(shown);
                }
            }
        }
    }
    assert!(faults.is_empty(), "SQL outside a store: {}", faults.join(", "));
}

/// Stores, schemas, and the books of the acquirer simulator, which are its store.
fn is_store(path: &str) -> bool {
    ["/store", "/migrations", "/acquirer/books"].iter().any(|part| path.contains(part))
}
