//! Writes what is generated from the API types: the custom resource definitions (`crds/generated`) and their reference
//! (`docs/reference`).  crdgen [ROOT]  (default: the working folder, as the root of a checkout).

mod api;
mod conditions;
mod definitions;
mod enums;
mod fields;
mod markdown;

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A generated file.
struct Generated {
    /// Its path from the root of the checkout.
    path: String,
    /// All of its text.
    text: String,
}

fn main() -> ExitCode {
    let root = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("."), PathBuf::from);
    match write(&root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell where standard error is closed.
            let _ = writeln!(std::io::stderr(), "crdgen: {}: {error}", root.display());
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<Vec<Generated>, Box<dyn Error>> {
    let definitions = seedbed_crds::all();
    let mut files = definitions::generate(&definitions)?;
    files.push(api::generate(&definitions)?);
    files.push(conditions::generate());
    Ok(files)
}

fn write(root: &Path) -> Result<(), Box<dyn Error>> {
    for file in generate()? {
        let path = root.join(&file.path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, &file.text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn the_generated_files_are_those_of_the_types() {
        let stale: Vec<String> = generate()
            .unwrap()
            .into_iter()
            .filter(|file| std::fs::read_to_string(root().join(&file.path)).ok().as_ref() != Some(&file.text))
            .map(|file| file.path)
            .collect();
        assert!(
            stale.is_empty(),
            "{} differ from what the types give: run `make generate` and commit what it writes",
            stale.join(", ")
        );
    }

    #[test]
    fn there_is_no_definition_of_a_kind_that_is_gone() {
        let known: Vec<String> = generate().unwrap().into_iter().map(|file| file.path).collect();
        for entry in std::fs::read_dir(root().join("crds/generated")).unwrap() {
            let path = format!("crds/generated/{}", entry.unwrap().file_name().to_string_lossy());
            assert!(
                known.contains(&path),
                "{path} is not generated any more: remove it"
            );
        }
    }
}
