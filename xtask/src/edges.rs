//! The task around [`xtask::graph`].

/// Complains about every forbidden edge.
pub fn check() -> anyhow::Result<()> {
    let faults = xtask::graph::forbidden_edges()?;
    anyhow::ensure!(faults.is_empty(), "forbidden dependencies:\n{}", faults.join("\n"));
    println!("every dependency points the allowed way");
    Ok(())
}
