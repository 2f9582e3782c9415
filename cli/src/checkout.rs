//! Where the sources are: the scripts that build, the CRDs and the sample.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::error::Error;

/// A checkout of the repository.
#[derive(Clone, Debug)]
pub(crate) struct Checkout(PathBuf);

impl Checkout {
    /// The one around the working folder, or else the one that this program was built in.
    pub(crate) fn find() -> Result<Self, Error> {
        let program = env::current_exe().unwrap_or_default();
        let folder = env::current_dir().unwrap_or_default();
        above(&folder)
            .or_else(|| above(&program))
            .map(Self)
            .ok_or(Error::NoCheckout { program })
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.join(relative)
    }

    /// A version that is pinned in images/versions.env.
    pub(crate) fn pinned(&self, key: &'static str) -> Result<String, Error> {
        let file = self.path("images/versions.env");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(source) => return Err(Error::Read { path: file, source }),
        };
        value_of(&text, key)
            .map(str::to_owned)
            .ok_or(Error::NotPinned { file, key })
    }
}

fn above(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .find(|folder| folder.join("images/versions.env").exists())
        .map(Path::to_owned)
}

fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_value_is_the_rest_of_its_line() {
        let text = "# KUBERNETES=v0\nKUBERNETES_X=no\nKUBERNETES=v1.35.4\n";
        assert_eq!(value_of(text, "KUBERNETES"), Some("v1.35.4"));
        assert_eq!(value_of(text, "ETCD"), None);
    }

    #[test]
    fn a_checkout_is_found_from_below() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(above(&here.join("src")).as_deref(), here.parent());
        assert_eq!(above(Path::new("/usr/bin")), None);
    }
}
