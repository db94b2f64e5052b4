//! The files of the repository, read once.

use std::path::{Path, PathBuf};

/// One source file.
pub struct Source {
    /// Its path from the repository's top, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// Whether it holds tests only.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.starts_with("storage/contract/")
    }

    /// Its lines that are not tests, with their numbers; comments included.
    pub fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = if self.is_test() {
            Some(0)
        } else {
            self.text.find("#[cfg(test)]\nmod tests {")
        };
        let product = &self.text[..end.unwrap_or(self.text.len())];
        (1..).zip(product.lines())
    }

    /// Its lines that are tests.
    pub fn test_lines(&self) -> impl Iterator<Item = &str> {
        let from = if self.is_test() {
            0
        } else {
            self.text
                .find("#[cfg(test)]\nmod tests {")
                .unwrap_or(self.text.len())
        };
        self.text[from..].lines()
    }
}

/// The repository's top folder.
pub fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file with one of these endings, build output and version control aside.
pub fn files(endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![top()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | ".git" | "__pycache__" | "results") {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(Source {
                    path: relative(&path),
                    text: read(&path),
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Every Rust file.
pub fn rust() -> Vec<Source> {
    let found = files(&[".rs"]);
    assert!(
        found.len() > 60,
        "only {} Rust files were found",
        found.len()
    );
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(top())
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}
