//! Workbooks in a zip (.xlsx, .xlsm, .xlsb, .ods): bytes → sheets, by the reader of each.

use std::panic::{self, AssertUnwindSafe};

use crate::{
    RollError, RollLimits, Sheet, ods,
    package::{Package, unreadable},
    xlsb, xlsx,
};

/// The sheets that have cells, and the names of those that cannot be read.
pub(crate) fn sheets(
    bytes: &[u8],
    limits: &RollLimits,
) -> Result<(Vec<Sheet>, Vec<String>), RollError> {
    let mut package = Package::open(bytes, limits)?;
    // What the reader stumbles over is the file's fault; nothing of it is used afterwards.
    let (sheets, damaged) =
        panic::catch_unwind(AssertUnwindSafe(|| read(&mut package, bytes, limits)))
            .unwrap_or_else(|_| Err(unreadable("the parts contradict each other")))?;
    match (sheets.is_empty(), damaged.first()) {
        (false, _) => Ok((sheets, damaged)),
        (true, None) => Err(RollError::Empty),
        (true, Some(name)) => Err(unreadable(format!("the sheet “{name}” is damaged"))),
    }
}

fn read(
    package: &mut Package<'_>,
    bytes: &[u8],
    limits: &RollLimits,
) -> Result<(Vec<Sheet>, Vec<String>), RollError> {
    if let Some(other) = package.other_kind() {
        return Err(other);
    }
    if package.has("content.xml") {
        return ods::sheets(package, limits);
    }
    let Some(main) = xlsx::main_part(package) else {
        return Err(unreadable("a zip without a workbook"));
    };
    if main.to_ascii_lowercase().ends_with(".bin") {
        return xlsb::sheets(package, bytes, limits);
    }
    xlsx::sheets(package, &main, limits)
}
