//! Source files as tokens: comments are none, and a string is one, so that words in them do not count.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// A token that rules look at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    /// A word, a sign, an opening or closing bracket; empty for a literal.
    pub(super) text: String,
    /// The line that it stands on, from 1.
    pub(super) line: usize,
}

/// The .rs files below `root/folder`, by name, without what is built or not the project's.
pub(super) fn files(root: &Path, folder: &str) -> Result<Vec<PathBuf>, String> {
    let enters = |entry: &DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || name != "target" && name != "out" && !name.starts_with('.')
    };
    let entries = WalkDir::new(root.join(folder)).sort_by_file_name().into_iter().filter_entry(enters);
    let paths = entries.map(|entry| entry.map(DirEntry::into_path).map_err(|error| error.to_string()));
    paths
        .filter(|path| path.as_ref().map_or(true, |path| path.extension().is_some_and(|e| e == "rs")))
        .collect()
}

/// A path as reports and lists have it: from the workspace's folder on.
pub(super) fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// A file's text.
pub(super) fn text(root: &Path, path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", relative(root, path)))
}

/// A file's tokens, groups flattened.
pub(super) fn tokens(root: &Path, path: &Path) -> Result<Vec<Token>, String> {
    let stream: TokenStream = text(root, path)?
        .parse()
        .map_err(|error| format!("{}: expected Rust, got {error}", relative(root, path)))?;
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    Ok(tokens)
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let mut push = |text: String, line: usize| tokens.push(Token { text, line });
        let line = tree.span().start().line;
        match tree {
            TokenTree::Ident(word) => push(word.to_string(), line),
            TokenTree::Punct(sign) => push(sign.as_char().to_string(), line),
            TokenTree::Literal(_) => push(String::new(), line),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open.into(), line);
                let end = group.span_close().end().line;
                flatten(group.stream(), tokens);
                tokens.push(Token { text: close.into(), line: end });
            }
        }
    }
}

/// Runs a check over the tokens of every .rs file below `root/folder` and gathers what is wrong.
pub(super) fn each_file(
    root: &Path,
    folder: &str,
    mut check: impl FnMut(&str, &[Token]) -> Vec<String>,
) -> Vec<String> {
    let files = match files(root, folder) {
        Ok(files) => files,
        Err(error) => return vec![error],
    };
    let faults = files.iter().flat_map(|path| match tokens(root, path) {
        Ok(tokens) => check(&relative(root, path), &tokens),
        Err(error) => vec![error],
    });
    faults.collect()
}
