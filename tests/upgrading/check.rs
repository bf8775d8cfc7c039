//! Placeholder until the check is written.

use std::path::Path;

pub async fn check(_old: &Path, _version: &str, _new: &Path) -> anyhow::Result<()> {
    Ok(())
}
