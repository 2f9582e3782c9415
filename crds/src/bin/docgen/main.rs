//! Writes the reference of the API, one Markdown page a subject:  docgen [FOLDER]  (default `docs/reference`).

mod api;
mod conditions;
mod enums;
mod fields;
mod markdown;

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A generated page.
struct Page {
    /// Its name.
    name: &'static str,
    /// All of its text.
    text: String,
}

fn main() -> ExitCode {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("docs/reference"), PathBuf::from);
    match write(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell where standard error is closed.
            let _ = writeln!(std::io::stderr(), "docgen: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<[Page; 2], Box<dyn Error>> {
    Ok([api::page(&seedbed_crds::all())?, conditions::page()])
}

fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    for page in generate()? {
        std::fs::write(folder.join(page.name), page.text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_that_of_the_types() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
        for page in generate().unwrap() {
            assert!(
                std::fs::read_to_string(folder.join(page.name)).is_ok_and(|found| found == page.text),
                "docs/reference/{} differs from what the types give: run `make generate` and commit what it writes",
                page.name
            );
        }
    }
}
